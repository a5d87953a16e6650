"""What is checked before a model samples: is the evaluation held out, can the golds be reached?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from maspo.data import Problem
from maspo.data.held_out import also_in_training
from maspo.errors import InputError
from maspo.evaluation.golds import try_golds
from maspo.lab.console import Screen
from maspo.recipes import Recipe
from maspo.recipes.schema import Data
from maspo.rewards import RewardSet

SHOWN = 5
"""Examples that a sentence names."""


def check_held_out(
    recipe: Recipe,
    training: Sequence[Problem],
    evaluation: Sequence[Problem],
    screen: Screen,
    *,
    strict: bool,
) -> dict[str, Any] | None:
    """Count the problems of the evaluation that are trained on, for the summary of the run.

    Where there are any the screen says so; under `strict` InputError does. None without evaluation.
    """
    if recipe.evaluation is None:
        return None
    templates = recipe.evaluation.data.template, recipe.data.template
    found = also_in_training(evaluation, training, templates=templates)
    ids = [problem.id for problem in found]
    if ids:
        sentence = (
            f"{len(ids)} of the {len(evaluation)} problems of the evaluation are also in the training "
            f"data, so that their scores show what was memorised: {_listed(ids)}"
        )
        complain(sentence, screen, strict=strict)
    return {"problems": len(evaluation), "also_in_training": len(ids), "ids": ids}


def check_golds_reached(
    problems: Mapping[str, Sequence[Problem]], rewards: RewardSet, screen: Screen, *, strict: bool
) -> None:
    """Say of each named set of problems which golds cannot be reached; under `strict` InputError."""
    for name, each in problems.items():
        sentence = gold_sentence(name, each, rewards)
        if sentence is not None:
            complain(sentence, screen, strict=strict)


def planned_golds(recipe: Recipe) -> list[str]:
    """Say of the data files of a recipe which golds cannot be reached or are not read whole.

    What is generated, or lies elsewhere, is not looked at: nothing is downloaded for a plan.
    """
    parts: dict[str, Data] = {"training": recipe.data}
    if recipe.evaluation is not None:
        parts["evaluation"] = recipe.evaluation.data
    files = {name: part for name, part in parts.items() if part.is_file()}
    rewards = recipe.reward.start_deciding() if files else None
    if rewards is None:
        return []
    with rewards:
        found = [gold_sentence(name, part.load(), rewards) for name, part in files.items()]
    return [sentence for sentence in found if sentence is not None]


def gold_sentence(name: str, problems: Iterable[Problem], rewards: RewardSet) -> str | None:
    """Say how many golds cannot be reached or are not read whole, with examples; None where all are well."""
    found = try_golds(problems, rewards)
    if not found.doubtful:
        return None
    of = f"{found.golds}" if found.tried == found.golds else f"the first {found.tried}"
    examples = [f"{one.text!r:.60} of {one.problem_id} ({one.why})" for one in found.doubtful]
    return (
        f"{len(found.doubtful)} of {of} golds of the {name} problems are not satisfied by their own text, "
        "read as prose, or are not read whole, so that hardly any completion can earn their reward: "
        f"{_listed(examples)}"
    )


def complain(sentence: str, screen: Screen, *, strict: bool) -> None:
    """Show a warning, or under `strict` raise InputError."""
    if strict:
        raise InputError(sentence)
    screen.warn(sentence)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
