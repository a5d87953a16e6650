"""What a few seeds can say: means, intervals, paired differences, and sentences that keep to them.

The unit is the run: one objective with one seed. Objectives are compared seed by seed, because runs
of one seed share start weights, data order and sampling seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, stats

from maspo.core.collapse import Collapse
from maspo.errors import InputError
from maspo.evaluation.estimators import LEVEL, RESAMPLES, Estimate, interval
from maspo.lab.formatting import interval_text, points

FEWEST = 3
"""Runs below which no claim is made: two points fit any line."""

POWER = 0.8

MAX_SEEDS = 10_000
"""Number of seeds beyond which nobody is told how many an effect would need."""

ROUNDING = 1e-12
"""Spread of differences that counts as none."""


def mean(values: Any, axis: int = -1) -> Any:
    """Average."""
    return np.mean(values, axis=axis)


def interquartile_mean(values: Any, axis: int = -1) -> Any:
    """Average what is left without the lowest and the highest quarter, each rounded down.

    Of fewer than four runs that is the mean. As in arXiv:2108.13264, without interpolation.
    """
    return stats.trim_mean(values, 0.25, axis=axis)


def improvement(one: Any, other: Any, axis: int = -1) -> Any:
    """The probability that a run of `one` scores above a run of `other`, ties counting half.

    Over all pairs of runs, as in arXiv:2108.13264.
    """
    left, right = np.moveaxis(one, axis, -1), np.moveaxis(other, axis, -1)
    gap = left[..., :, None] - right[..., None, :]
    return ((gap > 0) + 0.5 * (gap == 0)).mean(axis=(-2, -1))


def mean_estimate(values: Sequence[float]) -> Estimate:
    """Estimate the mean of one value per seed, with its `interval`; fewer than three have none.

    Raises InputError for no value.
    """
    if not values:
        raise InputError("an estimate needs at least one run")
    low, high = interval(values, LEVEL, bounds=None) if len(values) >= FEWEST else (None, None)
    return Estimate(value=float(mean(values)), low=low, high=high)


def resampled_estimate(
    statistic: Callable[..., Any], *samples: Sequence[float], seed: int = 0
) -> Estimate:
    """Estimate a statistic other than the mean, with a 95% percentile bootstrap interval over seeds.

    Args:
        statistic: takes `samples` and `axis`, as `interquartile_mean`, `improvement`.
        samples: one value per seed; several are resampled together, seed by seed.
        seed: of the resampling.

    Of few seeds it is too narrow, and no claim rests on it. Fewer than three have no interval. Raises
    InputError for none, or for samples of different lengths.
    """
    lengths = {len(values) for values in samples}
    if lengths == {0} or len(lengths) != 1:
        raise InputError(
            "an estimate needs at least one run, and as many of the one as of the other"
        )
    arrays = [np.asarray(values, dtype=float) for values in samples]
    value, (size,) = float(statistic(*arrays)), lengths
    if size < FEWEST:
        return Estimate(value=value, low=None, high=None)
    drawn = np.random.default_rng(seed).integers(size, size=(RESAMPLES, size))
    low, high = np.quantile(
        statistic(*(array[drawn] for array in arrays), axis=-1),
        [(1 - LEVEL) / 2, (1 + LEVEL) / 2],
    )
    return Estimate(value=value, low=float(low), high=float(high))


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """An objective against the baseline on the seeds that both finished."""

    seeds: int
    """Pairs of runs."""
    difference: Estimate
    """Mean of this objective's score minus the baseline's."""
    iqm: Estimate
    """Interquartile mean of the same differences."""
    improvement: Estimate
    """Probability that a run of it scores above one of the baseline."""
    p: float | None
    """Of Student's paired t-test; None of fewer than two pairs, or where all differences are equal."""
    needed: int | None
    """Seeds for which an effect of the observed size would be seen 4 times in 5; None where unknown."""
    shown: float | None
    """The smallest difference that as many seeds would show 4 times in 5; None where unknown."""


def compared(scores: Mapping[int, float], baseline: Mapping[int, float]) -> PairedComparison | None:
    """Compare the scores of two objectives, each by seed; None where they share no seed."""
    shared = [seed for seed in baseline if seed in scores]
    if not shared:
        return None
    one, other = ([side[seed] for seed in shared] for side in (scores, baseline))
    gaps = [a - b for a, b in zip(one, other, strict=True)]
    spread = float(np.std(gaps, ddof=1)) if len(gaps) > 1 else 0.0
    tested: Any = stats.ttest_1samp(gaps, 0) if spread > ROUNDING else None
    return PairedComparison(
        seeds=len(shared),
        difference=mean_estimate(gaps),
        iqm=resampled_estimate(interquartile_mean, gaps),
        improvement=resampled_estimate(improvement, one, other),
        p=None if tested is None else float(tested.pvalue),
        needed=seeds_needed(float(np.mean(gaps)), spread),
        shown=smallest_shown(spread, len(gaps)) if spread > ROUNDING else None,
    )


def smallest_shown(spread: float, seeds: int) -> float:
    """The mean difference that a paired t-test at 5% sees with a probability of 80%.

    Args:
        spread: standard deviation of the differences.
        seeds: pairs, two or more.

    From the noncentral t distribution; without the adjustment for several objectives.
    """
    bound = stats.t.ppf(0.5 + LEVEL / 2, seeds - 1)

    def missing(shift: float) -> float:
        return float(stats.nct.sf(bound, seeds - 1, shift)) - POWER

    return float(optimize.brentq(missing, 0, 3 * bound + 10)) * spread / math.sqrt(seeds)  # pyright: ignore


def seeds_needed(effect: float, spread: float) -> int | None:
    """Seeds for which a paired t-test at 5% sees `effect` with a probability of 80%.

    Args:
        effect: mean of the differences.
        spread: their standard deviation.

    From the noncentral t distribution. None where either is 0, and beyond MAX_SEEDS.
    """
    if not effect or spread <= ROUNDING:
        return None
    size = abs(effect) / spread
    # As many as a normal distribution would need; Student's needs a few more.
    normal = stats.norm.ppf(0.5 + LEVEL / 2) + stats.norm.ppf(POWER)
    seeds = max(2, math.floor((normal / size) ** 2))
    if seeds > MAX_SEEDS:
        return None
    while True:
        bound, shift = stats.t.ppf(0.5 + LEVEL / 2, seeds - 1), size * math.sqrt(seeds)
        if stats.nct.sf(bound, seeds - 1, shift) >= POWER:
            return seeds
        seeds += 1


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values for being several, by Holm's method; those that are None do not count."""
    known = sorted((p, i) for i, p in enumerate(values) if p is not None)
    adjusted: list[float | None] = [None] * len(values)
    least = 0.0
    for rank, (p, index) in enumerate(known):
        least = max(least, min(1.0, p * (len(known) - rank)))
        adjusted[index] = least
    return adjusted


# --- a run ---------------------------------------------------------------------------------------


def area(completions: Sequence[float], rewards: Sequence[float]) -> float:
    """Area under the reward curve divided by its length: the mean reward on the way, by trapezoids."""
    if len(rewards) == 1:
        return float(rewards[0])
    span = completions[-1] - completions[0]
    return float(np.trapezoid(rewards, completions)) / span


def reached(
    completions: Sequence[float], rewards: Sequence[float], threshold: float
) -> float | None:
    """Completions at which a (smoothed) curve first meets the threshold; None where it never does."""
    pairs = zip(completions, rewards, strict=True)
    return next((float(x) for x, reward in pairs if reward >= threshold), None)


def median_reached(values: Sequence[float | None]) -> float | None:
    """Median of what `reached` gave, a run that never got there counting as later than all; None if that."""
    ordered = sorted(math.inf if value is None else value for value in values)
    middle = float(np.median(ordered)) if ordered else math.inf
    return middle if math.isfinite(middle) else None


def collapse(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Say why a run has collapsed, by the lines of its metrics; None where it has not.

    The rule is that of the warning during training, `maspo.core.collapse.Collapse`: at some step
    the smoothed reward was below half of its best so far, or the gradient norm was not finite. A
    run that recovers has collapsed all the same.
    """
    rule = Collapse()
    for row in rows:
        # JSON holds null where a number was not finite.
        norm = math.nan if "grad_norm" in row and row["grad_norm"] is None else None
        if why := rule.see(row["step"], row.get("reward"), row.get("grad_norm") or norm):
            return why
    return None


# --- the sentence --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """What may be said of one objective."""

    finding: str
    """better, worse, hint, or none where nothing is shown."""
    text: str
    """The sentence."""


def conclude(
    label: str, baseline: str, found: PairedComparison | None, adjusted: float | None, failed: int
) -> Conclusion:
    """Say of one objective what its comparison with the baseline carries, and no more.

    A difference is claimed only where there are three or more pairs, the interval leaves out
    zero, Student's t agrees, adjusted for the number of objectives compared, and no run failed.

    Args:
        label, baseline: the two objectives.
        found: their comparison, None without a shared seed.
        adjusted: its p-value, adjusted.
        failed: runs of either that have no score.
    """
    if found is None:
        text = f"{label}: no seed was finished by both it and {baseline}; nothing can be said."
        return Conclusion(finding="none", text=text)
    change = found.difference
    low, high = change.low or 0.0, change.high or 0.0
    told = f"{label} against {baseline}: {points(change.value, 1)} points"
    if found.seeds >= FEWEST:
        told += f" (95% interval {interval_text(low, high, signed=True)}, {found.seeds} seeds)"
    finding, because = finding_of(found.seeds, low, high, adjusted, failed)
    more = "" if finding in ("better", "worse") else _more(found)
    return Conclusion(finding=finding, text=f"{told}; {because}{more}.")


def finding_of(
    seeds: int,
    low: float,
    high: float,
    adjusted: float | None,
    failed: int,
    words: tuple[str, str] = ("better", "worse"),
) -> tuple[str, str]:
    """Return a finding, one of `words`, hint or none, and why, of an interval about zero: see `conclude`."""
    if seeds < FEWEST:
        few = f"{seeds} seed" + ("s" if seeds > 1 else "")
        return "none", f"nothing can be said from {few}"
    if failed:
        runs = "1 run has" if failed == 1 else f"{failed} runs have"
        return "none", f"{runs} no score, so no claim is made"
    if low <= 0 <= high:
        return "none", "the interval holds zero: no difference is shown"
    if high - low <= ROUNDING:
        return "none", "the same in every seed, which no interval of these can judge"
    better = words[0] if low > 0 else words[1]
    if adjusted is None or adjusted >= 1 - LEVEL:
        return "hint", (
            f"the interval leaves out zero, but a t-test adjusted for the number of objectives "
            f"does not confirm it ({_p(adjusted)}): a hint of {better}, no more"
        )
    return better, f"{better} in this setting (adjusted t-test, {_p(adjusted)})"


def _more(found: PairedComparison) -> str:
    told = ""
    if found.seeds >= FEWEST and found.shown is not None:
        told = f"; so many seeds would show {100 * found.shown:.1f} points 4 times in 5"
    if found.needed is not None and found.needed > found.seeds:
        told += f"; an effect of this size would need roughly {found.needed} seeds"
    return told


def _p(value: float | None) -> str:
    return "p unknown" if value is None else "p < 0.001" if value < 0.001 else f"p = {value:.2g}"
