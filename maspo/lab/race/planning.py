"""From what a user asks for to the plan of a race, checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from maspo.engines.engine import DEFAULT_ENGINE, Launch, LaunchedEngine, engine_named
from maspo.errors import InputError
from maspo.lab.objective_list import parse_entrants
from maspo.lab.race.fairness import check_fairness
from maspo.lab.race.plan import TUNING_SEED, Plan
from maspo.recipes import Recipe, parse_recipe


def make_plan(
    recipe: Recipe,
    objectives: str,
    *,
    seeds: int,
    updates: Sequence[int] = (),
    staleness: Sequence[int] = (),
    rates: Sequence[float] = (),
    tuning_seeds: int = 0,
    sweep: Sequence[float] = (),
    equal_norm: bool = False,
    engine: str = DEFAULT_ENGINE,
    launch: Launch | None = None,
) -> Plan:
    """Plan a race of `objectives` (see `parse_entrants`) on a recipe.

    Seeds count up from the recipe's. `rates` are tuned on seeds of their own, `sweep` is raced whole.
    With `equal_norm` the updates of all are scaled to the first's, see `training.match_norm`.
    Advantages and reduction are the recipe's, or else those of
    the first objective, for all. Raises InputError where a run could not be made, two objectives are
    the same, or the engine has no use for a setting of `launch`.
    """
    launch = launch or Launch()
    trainer = engine_named(engine)
    replace(launch, dry_run=False).check(trainer)  # every race can be rehearsed
    if isinstance(trainer, LaunchedEngine) and not launch.dry_run:
        raise InputError(
            f"a race reads the scores of its runs, which {trainer.supported.title} keeps in its own logs; "
            "--dry-run checks the runs and prints their commands"
        )
    if recipe.evaluation is None:
        raise InputError("a race compares scores after training: give the recipe an evaluation")
    if seeds < 1 or (rates and tuning_seeds < 1):
        raise InputError("a race needs at least one seed, and so does the tuning")
    recipe.check_evaluation()
    entrants = parse_entrants(objectives)
    content = recipe.model_dump()
    content["objective"] = entrants[0].settings
    if "keep" not in recipe.training.model_fields_set:  # nobody extends one run of many
        content["training"]["keep"] = 0
    baseline = parse_recipe(content)
    content["training"]["advantages"] = baseline.advantages
    content["training"]["reduction"] = baseline.reduction
    if equal_norm:
        content["training"]["match_norm"] = entrants[0].settings
    updates = tuple(updates) or (recipe.training.updates_per_rollout,)
    for count in updates:
        if count < 1 or recipe.completions % count:
            raise InputError(
                f"a rollout of {recipe.completions} completions cannot be divided into "
                f"{count} updates"
            )
    staleness = tuple(staleness) or (recipe.rollout.staleness,)
    if min(staleness) < 0:
        raise InputError(f"a staleness must be at least 0, not {min(staleness)}")
    if any(not 0 < rate < math.inf for rate in (*rates, *sweep)):
        raise InputError("learning rates must be positive")
    if rates and sweep:
        raise InputError(
            "learning rates are tuned (--tune) or all of them raced (--rates), not both"
        )
    if len(sweep) == 1:
        raise InputError("one learning rate is no sweep: give --rates two or more")
    if recipe.seed <= TUNING_SEED < recipe.seed + seeds and rates:
        raise InputError(f"seeds from {TUNING_SEED} on are for tuning; choose another seed")
    plan = Plan(
        recipe=parse_recipe(content),
        entrants=entrants,
        updates=_distinct("updates per rollout", updates),
        staleness=_distinct("staleness", staleness),
        seeds=tuple(range(recipe.seed, recipe.seed + seeds)),
        rates=_distinct("learning rates", rates),
        sweep=tuple(sorted(_distinct("learning rates", sweep))),
        tuning_seeds=tuple(range(TUNING_SEED, TUNING_SEED + tuning_seeds)) if rates else (),
        engine=engine,
        launch=launch,
    )
    check_fairness(
        {trial.name: plan.recipe_of(trial) for trial in plan.trials()}, tuned=bool(sweep)
    )
    return plan


def _distinct(what: str, values: Sequence[Any]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise InputError(f"{what} {', '.join(map(str, values))}: one is given twice")
    return tuple(values)
