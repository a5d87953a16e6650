"""What a race costs and what it can show, before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from maspo.lab.forecast.pace import measured_pace
from maspo.lab.formatting import duration
from maspo.lab.race.folder import RaceFolder
from maspo.lab.race.inference import FEWEST, smallest_shown
from maspo.lab.race.plan import Plan, Trial

EXAMPLE = 2.0
"""Percentage points: a spread of differences that the power is said for."""


def price(plan: Plan, folder: RaceFolder, parallel: int) -> str:
    """Say how many runs are left and, where a run was measured, how long they take."""
    trials = _all_trials(plan)
    left = [trial for trial in trials if not folder.finished(trial)]
    runs = f"{len(left)} runs" if len(left) == len(trials) else f"{len(left)} of {len(trials)} runs"
    done = [folder.seconds(trial) for trial in trials if folder.finished(trial)]
    if done:
        each, source = median(done), "as those that are done"
    elif (pace := measured_pace(plan.recipe)) is not None:
        each = pace.seconds * plan.recipe.training.rollouts
        source = f"of training, as measured in {pace.folder}, evaluations not counted"
    else:
        return f"{runs}; the time they take is said when the first is over"
    rounds = -(-len(left) // parallel)
    return f"{runs}, about {duration(rounds * each)}: {duration(each)} each {source}"


def power(seeds: int) -> str:
    """Say which difference so many seeds show 4 times in 5, in spreads of the paired differences."""
    if seeds < FEWEST:
        return (
            f"{seeds} seed{'s' * (seeds > 1)} can show no difference; take --seeds {FEWEST} or more"
        )
    factor = smallest_shown(1.0, seeds)
    return (
        f"{seeds} seeds show 4 times in 5 a difference of {factor:.1f} times the standard deviation of the "
        f"differences between seeds: {EXAMPLE * factor:.1f} points where that is {EXAMPLE:g}"
    )


def _all_trials(plan: Plan) -> Sequence[Trial]:
    """List the runs of tuning and race; an entrant that is tuned will have one rate, whichever it is."""
    chosen = dict.fromkeys(
        ((label, condition) for label in plan.labels for condition in plan.conditions),
        plan.recipe.training.learning_rate,
    )
    return [*plan.tuning_trials(), *plan.trials(chosen if plan.rates else None)]
