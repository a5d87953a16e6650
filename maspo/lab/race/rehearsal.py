"""What a race will do: said before it begins, and checked run by run in a dry run."""

from __future__ import annotations

from maspo.engines.engine import LaunchedEngine, engine_named
from maspo.lab.console import Screen
from maspo.lab.race.fairness import couplings, matched, strangers
from maspo.lab.race.folder import RaceFolder
from maspo.lab.race.inference import FEWEST
from maspo.lab.race.plan import Plan
from maspo.lab.race.price import power, price


def rehearse(plan: Plan, folder: RaceFolder, screen: Screen, *, parallel: int = 1) -> None:
    """Have the engine check the runs of the first seed, and show what each would train; write nothing.

    Raises InputError for the first that could not be run.
    """
    engine = engine_named(plan.engine)
    introduce(plan, folder, screen, parallel=parallel)
    for trial in plan.trials():
        if trial.seed != plan.seeds[0]:
            continue
        recipe, place = plan.recipe_of(trial), folder.run_folder(trial)
        engine.check(recipe, plan.launch, place)
        screen.say(f"checked    {trial.name}: would train {recipe.make_objective()}")
        if isinstance(engine, LaunchedEngine):
            screen.say(engine.printed(engine.command(recipe, plan.launch, place)), "dim")


def introduce(
    plan: Plan, folder: RaceFolder, screen: Screen, *, parallel: int = 1, more: str = ""
) -> None:
    """Say what the race is, why it is fair, what it costs and what it can show."""
    training = plan.recipe.training
    tuning = f"{len(plan.tuning_trials())} to tune, then " if plan.rates else ""
    lines = [
        f"race       {', '.join(plan.labels)}; {plan.labels[0]} is the baseline",
        f"runs       {tuning}{len(plan.trials())} with {engine_named(plan.engine).supported.title}: "
        f"updates per rollout {', '.join(map(str, plan.updates))}; {_staleness(plan)}"
        f"seeds {', '.join(map(str, plan.seeds))}{more}",
        f"for all    advantages {training.advantages}, reduction {training.reduction}, learning rate "
        + _rates(plan)
        + "".join(f"; {line}" for line in matched(plan)),
        "proof      the recipes of one seed differ in objective"
        + (" and learning rate alone" if plan.rates or plan.sweep else " alone"),
        *(f"note       {line}" for line in (*strangers(plan), *couplings(plan))),
        f"price      {price(plan, folder, parallel)}",
        f"power      {power(len(plan.seeds))}",
    ]
    for line in lines:
        screen.say(line, "dim")
    if len(plan.seeds) < FEWEST:
        screen.warn(f"below {FEWEST} seeds nothing can be said of a difference")


def _rates(plan: Plan) -> str:
    """Say which learning rates the runs have."""
    if plan.rates:
        return "tuned"
    if plan.sweep:
        return f"each of {', '.join(f'{rate:g}' for rate in plan.sweep)}"
    return f"{plan.recipe.training.learning_rate:g} {plan.recipe.training.schedule}"


def _staleness(plan: Plan) -> str:
    """Name the ages of the data, where any are old."""
    if not any(plan.staleness):
        return ""
    return f"data {', '.join(map(str, plan.staleness))} rollouts old; "
