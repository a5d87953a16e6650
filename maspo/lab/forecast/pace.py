"""How long a rollout of a recipe takes, from the runs of it that are at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from maspo import files
from maspo.errors import InputError
from maspo.lab.run.folder import RUNS
from maspo.lab.run.resume import flat
from maspo.recipes import Recipe
from maspo.recipes.load import load_recipe

INDIFFERENT = (
    "name", "about", "seed", "objective", "evaluation", "reward", "tracker", "push_to_hub",
    "training.rollouts", "training.advantages", "training.reduction", "training.match_norm",
    "training.learning_rate", "training.schedule", "training.warmup_steps", "training.save_every",
    "training.keep", "training.save_tokens", "data.seed", "data.limit",
)  # fmt: skip
"""Keys of a recipe, or sections, that change the time of a rollout little."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """A measurement of training."""

    folder: Path
    """Of the run that it comes from."""
    rollouts: float
    """That were measured."""
    seconds: float
    """Of one rollout and its updates, evaluations not counted."""


def measured_pace(recipe: Recipe, places: Sequence[Path] = (RUNS, Path())) -> Pace | None:
    """Return the pace of the newest run in `places` that does the same work on the same devices.

    It needs two steps at the least: the first is not counted. None where there is no such run.
    """
    found = [file for place in places for file in place.glob("*/metrics.jsonl")]
    folders = sorted(found, key=lambda file: -file.stat().st_mtime)
    for folder in (file.parent for file in folders):
        try:
            same = _work(load_recipe(str(folder / "recipe.yaml"))) == _work(recipe)
            rows = files.read_lines(folder / "metrics.jsonl", torn=True) if same else []
            gpus = files.read_json(folder / "provenance.json")["hardware"]["gpus"]
        except (InputError, OSError, ValueError, KeyError):
            continue  # of another version, or no run
        here = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        if len(rows) > 1 and gpus == here:
            rollouts = (rows[-1]["step"] - rows[0]["step"]) / recipe.training.updates_per_rollout
            seconds = (rows[-1]["seconds"] - rows[0]["seconds"]) / rollouts
            return Pace(folder=folder, rollouts=rollouts, seconds=seconds)
    return None


def _work(recipe: Recipe) -> dict[str, object]:
    """Return the keys of a recipe on which the time of a rollout depends."""
    return {
        key: value
        for key, value in flat(recipe.model_dump())
        if not any(f"{key}.".startswith(f"{name}.") for name in INDIFFERENT)
    }
