"""What makes a trained model fit to share: its card, and the way to the hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import maspo
from maspo import files
from maspo.engines.trl.model_card import CARD_PAPER, CARD_TAGS
from maspo.errors import InputError
from maspo.lab.formatting import percent_with_interval, points_with_interval
from maspo.lab.run.text import judged_on, scores
from maspo.recipes import Recipe, dump_recipe

CARD = "README.md"


def write_card(folder: Path, recipe: Recipe, summary: Mapping[str, Any]) -> None:
    """Write the card of a trained model: how it was made, how good it is, and the recipe."""
    files.write_text(folder / CARD, card(recipe, summary))


def card(recipe: Recipe, summary: Mapping[str, Any]) -> str:
    """Write the card of a trained model as Markdown."""
    head: dict[str, Any] = {"library_name": "transformers", "tags": CARD_TAGS}
    if recipe.model.source.count("/") == 1 and not Path(recipe.model.source).exists():
        head["base_model"] = recipe.model.source
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n",
        f"# {recipe.name}\n",
        f"{recipe.model.source}, trained on {recipe.data.source} for {recipe.training.rollouts} rollouts by "
        f"reinforcement learning with verifiable rewards: {recipe.make_objective()}, with maspo "
        f"{maspo.__version__}.\n",
        *_results(summary),
        f"## Recipe\n\n```yaml\n{dump_recipe(recipe)}```\n",
        f"## Citation\n\n```bibtex\n{CARD_PAPER['citation']}\n```\n",
    ]
    return "\n".join(parts)


def _results(summary: Mapping[str, Any]) -> list[str]:
    before, after = summary["before"], summary["after"]
    if before is None or after is None:
        return ["It was not evaluated.\n"]
    rows = ["| | before | after | change |", "| --- | --- | --- | --- |"]
    for name in scores(summary):
        sides = (before, after)
        cells = [
            percent_with_interval(s[name], *s["intervals"].get(name, (None, None))) for s in sides
        ]
        change, low, high = summary["difference"].get(
            name, (after[name] - before[name], None, None)
        )
        rows.append(
            f"| {name} | {' | '.join(cells)} | {points_with_interval(change, low, high, 0)} |"
        )
    return [
        "## Results\n",
        "\n".join(rows) + "\n",
        f"{judged_on(summary)}, 95% intervals over problems.\n",
    ]


def check_hub(recipe: Recipe) -> None:
    """Raise InputError where nobody is logged in to the hub that the recipe's model is to go to."""
    if recipe.push_to_hub is None:
        return
    from huggingface_hub import get_token

    if get_token() is None:
        raise InputError(
            f"push_to_hub: {recipe.push_to_hub} needs a login: run `hf auth login`, or set HF_TOKEN"
        )


def push(recipe: Recipe, run: Path) -> str | None:
    """Upload model and card, and the adapter if there is one; return why that failed, None if it did not.

    A repository that is not there yet is made, private.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api, name = HfApi(), recipe.push_to_hub
    assert name is not None
    try:
        api.create_repo(name, private=True, exist_ok=True)
        for part, place in (("model", None), ("adapter", "adapter")):
            if (run / part).is_dir():
                api.upload_folder(repo_id=name, folder_path=run / part, path_in_repo=place)
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        return f"the model was not uploaded to {name}: {reason:.200}; it lies in {run / 'model'}"
    return None
