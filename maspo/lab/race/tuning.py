"""The learning rates that a race tries before it begins, on seeds of their own."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

from maspo.lab.race.folder import RaceFolder
from maspo.lab.race.plan import Condition, Plan, Rates

Tried = dict[tuple[str, Condition], dict[float, float | None]]
"""By objective and condition: the mean score of each learning rate, None where a run has none."""


def tuning_scores(plan: Plan, folder: RaceFolder) -> Tried:
    """Read the runs of the tuning."""
    scores: dict[tuple[str, Condition], dict[float, list[float | None]]] = {}
    for trial in plan.tuning_trials():
        tried = scores.setdefault((trial.entrant, trial.condition), {})
        tried.setdefault(trial.learning_rate, []).append(folder.result(trial).score)
    return {
        who: {rate: None if None in found else fmean(found) for rate, found in tried.items()}  # pyright: ignore
        for who, tried in scores.items()
    }


def best_rates(tried: Tried) -> Rates:
    """Choose, for each objective and condition, the learning rate with the best mean score.

    A rate with a failed run is out, and so is an objective without any rate left. Of equally good
    rates the smallest is taken.
    """
    chosen = {}
    for who, scores in tried.items():
        whole = {rate: score for rate, score in sorted(scores.items()) if score is not None}
        if whole:
            chosen[who] = max(whole, key=lambda rate: whole[rate])
    return chosen


def tuned_at_the_edge(plan: Plan, rates: Rates) -> Iterable[str]:
    """Name the objectives whose best learning rate is the lowest or highest of those tried."""
    if len(plan.rates) < 2:
        return
    for end, extreme in (("lowest", min(plan.rates)), ("highest", max(plan.rates))):
        for condition in plan.conditions:
            found = [label for label in plan.labels if rates.get((label, condition)) == extreme]
            if found:
                yield (
                    f"{condition}: {', '.join(found)} did best with the {end} learning "
                    f"rate tried, {extreme:g}: a wider range may do better."
                )
