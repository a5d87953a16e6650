"""How much rate an objective bears: the score against the learning rate, its best value, its tolerance.

An objective that takes smaller steps does better at a higher rate and worse at a lower one, and that
says nothing of its shape. So each is judged against its own best rate: the tolerance is the factor by
which the rate may exceed it before `LOSS` of the score is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from maspo.evaluation.estimators import LEVEL, RESAMPLES
from maspo.lab.race.inference import (
    FEWEST,
    ROUNDING,
    Conclusion,
    finding_of,
    holm,
    smallest_shown,
)
from maspo.lab.race.plan import Condition

LOSS = 0.02
"""Score that is lost at the end of the tolerance: two points."""


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A factor on the learning rate, with its interval."""

    value: float
    low: float | None
    """None of fewer than two seeds."""
    high: float | None
    bound: str = ""
    """`at least` or `at most`, where the score did not fall within the rates that were tried."""


@dataclass(frozen=True, kw_only=True)
class RateCurve:
    """One objective's score against the learning rate, under one condition."""

    label: str
    scores: dict[int, tuple[float, ...]]
    """By seed, the score at each rate; seeds that lack one are left out."""
    best_rate: float | None
    """With the highest mean; of equals the lowest; None without a whole seed."""
    best: float | None
    """The mean there."""
    tolerance: Factor | None
    failed: int
    """Runs without a score because they failed."""
    against: Factor | None = None
    """Its tolerance divided by the baseline's, on the seeds that both have."""
    conclusion: Conclusion | None = None

    @property
    def means(self) -> list[float]:
        """The mean over seeds at each rate; none without a whole seed."""
        return np.mean(list(self.scores.values()), axis=0).tolist() if self.scores else []


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The scores of all objectives at all learning rates, under one condition."""

    condition: Condition
    rates: tuple[float, ...]
    curves: tuple[RateCurve, ...]


def tolerances(means: Any, rates: Sequence[float]) -> tuple[Any, Any]:
    """Return log2 of the tolerance, `[...]`, and whether the score never fell, of curves `[..., rates]`.

    From the best rate on, the first crossing of best - `LOSS`, interpolated in the logarithm of the
    rate. Where there is none, the highest rate tried stands for it.
    """
    means, places = np.asarray(means, float), np.log2(rates)
    best = means.argmax(-1)[..., None]
    target = np.take_along_axis(means, best, -1) - LOSS
    below = (means < target) & (np.arange(len(rates)) > best)
    never = ~below.any(-1)
    after = np.where(never, len(rates) - 1, below.argmax(-1))[..., None]
    before = np.maximum(after - 1, 0)
    high, low = (np.take_along_axis(means, at, -1) for at in (before, after))
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(never[..., None], 1.0, (high - target) / (high - low))
    crossing = places[before] + part * (places[after] - places[before])
    crossing = np.where(never[..., None], places[-1], crossing)
    return (crossing - places[best])[..., 0], never


def rate_curve(
    label: str,
    rates: Sequence[float],
    scores: Mapping[int, Mapping[float, float]],
    failed: int,
) -> RateCurve:
    """Read one objective's curve off its scores, by seed and rate."""
    whole = {
        seed: tuple(found[rate] for rate in rates)
        for seed, found in scores.items()
        if all(rate in found for rate in rates)
    }
    bare = RateCurve(
        label=label, scores=whole, best_rate=None, best=None, tolerance=None, failed=failed
    )
    if not whole:
        return bare
    values = np.array(list(whole.values()))
    means = values.mean(0)
    place, never = tolerances(means, rates)
    span = _interval(tolerances(_resampled(values), rates)[0]) if len(values) >= FEWEST else None
    return replace(
        bare,
        best_rate=rates[int(means.argmax())],
        best=float(means.max()),
        tolerance=_factor(float(place), span, "at least" if never else ""),
    )


def compare_tolerances(curves: Sequence[RateCurve], rates: Sequence[float]) -> list[RateCurve]:
    """Compare every curve but the first with the first, paired by seed.

    Intervals by the bootstrap over seeds, of both at once; p by Student's t on the jackknife's
    pseudo-values, adjusted by Holm's method.
    """
    base, *others = curves
    found = [_ratio(curve, base, rates) for curve in others]
    adjusted = holm([one.p if one else None for one in found])
    judged = [
        replace(
            curve,
            against=one and one.factor,
            conclusion=_conclude(curve, base, one, p, curve.failed + base.failed),
        )
        for curve, one, p in zip(others, found, adjusted, strict=True)
    ]
    return [base, *judged]


@dataclass(frozen=True, kw_only=True)
class _Ratio:
    """Two tolerances compared."""

    seeds: int
    factor: Factor
    p: float | None
    shown: float | None
    """The smallest factor that as many seeds would show 4 times in 5."""


def _ratio(curve: RateCurve, base: RateCurve, rates: Sequence[float]) -> _Ratio | None:
    shared = [seed for seed in base.scores if seed in curve.scores]
    if not shared:
        return None
    one, other = (np.array([side.scores[seed] for seed in shared]) for side in (curve, base))

    def gap(of_one: Any, of_other: Any) -> Any:
        return tolerances(of_one, rates)[0] - tolerances(of_other, rates)[0]

    value = float(gap(one.mean(0), other.mean(0)))
    (_, mine), (_, theirs) = (tolerances(side.mean(0), rates) for side in (one, other))
    bound = {(True, True): "both", (True, False): "at least", (False, True): "at most"}
    count, span, p, shown = len(shared), None, None, None
    if count > 1:
        span = _interval(gap(_resampled(one), _resampled(other)))
        without = gap(*((side.sum(0) - side) / (count - 1) for side in (one, other)))
        pseudo = count * value - (count - 1) * without
        spread = float(np.std(pseudo, ddof=1))
        if spread > ROUNDING:
            p = float(stats.ttest_1samp(pseudo, 0).pvalue)  # pyright: ignore
            shown = 2 ** smallest_shown(spread, count)
    factor = _factor(value, span, bound.get((bool(mine), bool(theirs)), ""))
    return _Ratio(seeds=count, factor=factor, p=p, shown=shown)


def _conclude(
    curve: RateCurve, base: RateCurve, found: _Ratio | None, adjusted: float | None, failed: int
) -> Conclusion:
    """Say of one tolerance what its comparison with the baseline's carries, and no more."""
    label = f"{curve.label}, tolerance against {base.label}"
    if found is None:
        return Conclusion(finding="none", text=f"{label}: no seed has all rates of both.")
    factor = found.factor
    if factor.bound == "both":
        text = f"{label}: neither lost two points within the rates tried; nothing can be said."
        return Conclusion(finding="none", text=text)
    told = f"{label}: {factor.bound} {factor.value:.2f} times".replace(":  ", ": ")
    low, high = (np.log2(x) if x else 0.0 for x in (factor.low, factor.high))
    if found.seeds >= FEWEST:
        told += f" (95% interval {factor.low:.2f} to {factor.high:.2f}, {found.seeds} seeds)"
    finding, because = finding_of(
        found.seeds, float(low), float(high), adjusted, failed, ("more", "less")
    )
    contrary = {"at least": "less", "at most": "more"}.get(factor.bound)
    if finding == contrary:
        finding, because = "none", "a bound, which the rates tried do not carry any further"
    more = ""
    if finding in ("none", "hint") and found.shown is not None and found.seeds >= FEWEST:
        more = f"; so many seeds would show a factor of {found.shown:.2f} 4 times in 5"
    return Conclusion(finding=finding, text=f"{told}; {because}{more}.")


def _resampled(values: Any) -> Any:
    """Return the mean curves, `[resamples, rates]`, of seeds drawn with replacement, the same for all."""
    draws = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    counts = np.apply_along_axis(np.bincount, 1, draws, minlength=len(values))
    return counts @ values / len(values)


def _interval(drawn: Any) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _factor(value: float, span: tuple[float, float] | None, bound: str) -> Factor:
    low, high = (None, None) if span is None else (2**end for end in span)
    return Factor(value=2**value, low=low, high=high, bound=bound)
