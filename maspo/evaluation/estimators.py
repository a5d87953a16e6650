"""From counts of correct samples to avg@k and pass@k, with intervals over problems."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb

from maspo.errors import InputError

_BLOCK = 2**22  # numbers drawn at once by the bootstrap: bounds its memory at about 64 MiB


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over problems and its confidence interval."""

    value: float
    low: float
    high: float


def avg_at_k(k: int, correct: int) -> float:
    """The share of correct ones among all k samples of a problem."""
    _check_counts(k, correct)
    return correct / k


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The probability that k of the n samples, drawn without replacement, hold a correct one.

    1 - C(n - correct, k) / C(n, k), the unbiased estimator of arXiv:2107.03374; in exact integers
    up to the last division. Raises InputError for k > n: such a value needs more samples.
    """
    _check_counts(n, correct)
    if not 1 <= k <= n:
        raise InputError(f"pass@{k} needs k from 1 to the {n} samples drawn")
    return (comb(n, k) - comb(n - correct, k)) / comb(n, k)


def estimates(
    correct: Sequence[int], *, n: int, ks: Iterable[int] = (), level: float = 0.95, seed: int = 0
) -> dict[str, Estimate]:
    """Estimate `avg@n`, and `pass@k` for each k, over a set of problems.

    Args:
        correct: the number of correct samples of each problem.
        n: the number of samples drawn for every problem.
        ks: the k of each pass@k, none above n.
        level, seed: as in `bootstrap_interval`.

    Raises InputError for k > n, impossible counts, or fewer than two problems.
    """
    values = {f"avg@{n}": [avg_at_k(n, c) for c in correct]}
    values |= {f"pass@{k}": [pass_at_k(n, c, k) for c in correct] for k in ks}
    return {name: bootstrap_interval(each, level=level, seed=seed) for name, each in values.items()}


def bootstrap_interval(
    values: Sequence[float], *, level: float = 0.95, seed: int = 0, resamples: int = 10_000
) -> Estimate:
    """Estimate the mean of one value per problem, with a bootstrap interval over problems.

    Percentile rather than BCa, which is undefined where all values are equal. It covers the choice
    of problems, given the number of samples drawn for each; where all values are equal its width
    is 0, which says nothing about other problems. Raises InputError for fewer than two problems.
    """
    import numpy as np
    from scipy.stats import bootstrap

    if len(values) < 2:
        raise InputError(f"an interval over problems needs two or more, not {len(values)}")
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, not {level}")
    result = bootstrap(
        (np.asarray(values, dtype=float),),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _BLOCK // len(values)),
        confidence_level=level,
        method="percentile",
        rng=seed,
    )
    low, high = result.confidence_interval
    return Estimate(value=float(np.mean(values)), low=float(low), high=float(high))


def paired_difference(
    before: Sequence[float],
    after: Sequence[float],
    *,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 10_000,
) -> Estimate:
    """Estimate the mean of `after - before` over the same problems in the same order.

    Pairing removes the spread between easy and hard problems, so the interval is far narrower than
    that of two separate means. Raises InputError where the lengths differ.
    """
    if len(before) != len(after):
        raise InputError(f"{len(before)} problems before but {len(after)} after: not the same set")
    differences = [new - old for old, new in zip(before, after, strict=True)]
    return bootstrap_interval(differences, level=level, seed=seed, resamples=resamples)


def _check_counts(n: int, correct: int) -> None:
    if n < 1 or not 0 <= correct <= n:
        raise InputError(f"{correct} correct of {n} samples is impossible")
