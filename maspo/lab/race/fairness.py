"""The proof that a race is fair: in what the recipes of its runs differ, and what to know of its entrants."""

from __future__ import annotations

from typing import Any

from maspo.core.advantages import DEFAULT_ADVANTAGES
from maspo.core.reduction import DEFAULT_REDUCTION
from maspo.errors import InputError
from maspo.lab.race.plan import Condition, Plan
from maspo.objectives import make_objective
from maspo.objectives.advice import depends_on_micro_batch
from maspo.recipes import Recipe

MAY_DIFFER = frozenset({"objective"})
"""Keys of a recipe in which the runs of one seed and one condition may differ."""


def differences(one: Recipe, other: Recipe) -> dict[str, tuple[Any, Any]]:
    """Give the keys in which two recipes differ, with both values; `objective` counts as one key."""
    left, right = (_flat(recipe.model_dump()) for recipe in (one, other))
    return {
        key: (left.get(key), right.get(key))
        for key in {**left, **right}
        if left.get(key) != right.get(key)
    }


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value and key not in ("objective", "match_norm"):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def check_fairness(
    recipes: dict[str, Recipe], *, tuned: bool = False
) -> dict[str, tuple[str, ...]]:
    """Give, for each run, the keys in which it differs from the first of its seed and condition.

    Args:
        recipes: by name, the runs of one race.
        tuned: whether learning rates were chosen for each objective, or swept.

    Raises InputError where one differs in anything but the objective, or the tuned learning rate.
    """
    allowed = MAY_DIFFER | ({"training.learning_rate"} if tuned else set())
    firsts: dict[tuple[int, Condition], Recipe] = {}
    found = {}
    for name, recipe in recipes.items():
        condition = Condition(
            updates=recipe.training.updates_per_rollout, staleness=recipe.rollout.staleness
        )
        first = firsts.setdefault((recipe.seed, condition), recipe)
        keys = tuple(differences(first, recipe))
        unfair = sorted(set(keys) - allowed)
        if unfair:
            raise InputError(f"the race is not fair: run {name} differs in {', '.join(unfair)}")
        found[name] = keys
    return found


def strangers(plan: Plan) -> list[str]:
    """Name the objectives whose papers take other advantages or another reduction than the race."""
    training, said = plan.recipe.training, []
    for entrant in plan.entrants:
        own = make_objective(**entrant.settings)
        theirs = [
            f"{what} {value}"
            for what, value, given in (
                ("advantages", own.advantages or DEFAULT_ADVANTAGES, training.advantages),
                ("reduction", own.reduction or DEFAULT_REDUCTION, training.reduction),
            )
            if value != given
        ]
        if theirs:
            said.append(f"{entrant.label}: its paper has {' and '.join(theirs)}")
    return said


def couplings(plan: Plan) -> list[str]:
    """Name the objectives that couple the batch, with the part of an update that each run showed them."""
    recipes = {trial.updates: plan.recipe_of(trial) for trial in plan.trials()}
    parts = " and ".join(
        f"{recipe.training.micro_batch} of {recipe.completions_per_update} completions at "
        f"{updates} updates per rollout"
        for updates, recipe in recipes.items()
    )
    changed = any(r.training.micro_batch < r.completions_per_update for r in recipes.values())
    changed |= len({recipe.training.micro_batch for recipe in recipes.values()}) > 1
    return [
        f"{entrant.label}: weighs tokens by their place in the micro-batch, which was {parts}"
        for entrant in plan.entrants
        if changed and depends_on_micro_batch(make_objective(**entrant.settings))
    ]


def matched(plan: Plan) -> list[str]:
    """Say whose norm the updates of all have, where they were scaled."""
    other = plan.recipe.make_match_norm()
    return [] if other is None else [f"every update is scaled to the norm of {other}"]
