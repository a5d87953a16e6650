"""From the samples of each problem to avg@k, pass@k and maj@k, with intervals over problems."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb
from typing import TYPE_CHECKING

from maspo.errors import InputError

if TYPE_CHECKING:
    import numpy as np

LEVEL, RESAMPLES = 0.95, 10_000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over problems and its confidence interval; None where one problem allows none."""

    value: float
    low: float | None
    high: float | None


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
    _check_k("pass", n, k)
    return (comb(n, k) - comb(n - correct, k)) / comb(n, k)


def maj_at_k(n: int, correct: int, wrong: Iterable[int], k: int) -> float:
    """The probability that the plurality of k of the n samples, drawn without replacement, is right.

    The expected value over all subsets, with ties broken evenly; exact up to the last division.

    Args:
        n: the samples of the problem; those without an answer do not vote.
        correct: how many are correct; they vote as one, however their answers are written.
        wrong: how many gave each of the wrong answers.
        k: the size of the vote.

    Raises InputError for k > n or impossible counts.
    """
    _check_counts(n, correct)
    _check_k("maj", n, k)
    rivals = sorted(wrong)
    if sum(rivals) > n - correct or (rivals and rivals[0] < 1):
        raise InputError(f"wrong answers {rivals} and {correct} correct of {n} samples: impossible")
    wins = sum(
        comb(correct, votes) * _ways(n - correct, rivals, votes, k - votes)
        for votes in range(1, min(correct, k) + 1)
    )
    return float(Fraction(wins) / comb(n, k))


def _ways(others: int, rivals: Sequence[int], votes: int, drawn: int) -> Fraction:
    """Count draws of `drawn` of the `others` that give no rival more than `votes`.

    A draw with m rivals level at `votes` counts 1 / (m + 1), the chance to win the tie.
    """
    strong = [size for size in rivals if size >= votes]  # the rest can never be level
    free = others - sum(strong)
    states = {(0, 0): 1}  # (drawn so far, rivals level) -> number of draws
    left = sum(strong)
    for size in strong:
        left -= size
        found: dict[tuple[int, int], int] = {}
        for (taken, level), count in states.items():
            least = drawn - free - left - taken  # below it too few remain
            for share in range(max(0, least), min(votes, drawn - taken) + 1):
                key = (taken + share, level + (share == votes))
                found[key] = found.get(key, 0) + count * comb(size, share)
        states = found
    return sum(
        (Fraction(c * comb(free, drawn - taken), m + 1) for (taken, m), c in states.items()),
        Fraction(0),
    )


def bootstrap_interval(
    values: Sequence[float], *, level: float = LEVEL, seed: int = 0, resamples: int = RESAMPLES
) -> Estimate:
    """Estimate the mean of one value per problem, with a bootstrap interval over problems.

    Percentile rather than BCa, which is undefined where all values are equal. It covers the choice
    of problems, given the number of samples drawn for each; where all values are equal its width
    is 0, which says nothing about other problems. Of one problem low and high are None. Raises
    InputError for none.
    """
    tables = [[(value,) for value in values]]
    return mean_estimates(tables, level=level, seed=seed, resamples=resamples)[0]


def mean_estimates(
    tables: Sequence[Sequence[Sequence[float]]],
    *,
    level: float = LEVEL,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Estimate]:
    """Estimate several means at once, from the same resampled problems.

    Args:
        tables: one per benchmark, each with a row per problem and a column per metric. Several
            give the unweighted mean of their means; each is resampled by itself.
        level, seed, resamples: of the interval, as in `bootstrap_interval`.

    Returns one estimate per column. Raises InputError for a benchmark without problems.
    """
    import numpy as np

    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, not {level}")
    if not tables or not all(map(len, tables)):
        raise InputError("an estimate needs at least one problem")
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(table, dtype=float) for table in tables]
    means = np.mean([array.mean(axis=0) for array in arrays], axis=0)
    if min(map(len, arrays)) < 2:
        return [Estimate(value=float(mean), low=None, high=None) for mean in means]
    drawn = np.mean([_resampled_means(array, resamples, rng) for array in arrays], axis=0)
    tail = (1 - level) / 2
    lows, highs = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return [
        Estimate(value=float(mean), low=float(low), high=float(high))
        for mean, low, high in zip(means, lows, highs, strict=True)
    ]


def _resampled_means(
    array: "np.ndarray", resamples: int, rng: "np.random.Generator"
) -> "np.ndarray":
    """Mean rows of resampled problems, [resamples, columns].

    Drawing problems with replacement is drawing the counts of the distinct rows, which are few.
    """
    import numpy as np

    rows, counts = np.unique(array, axis=0, return_counts=True)
    if len(rows) == 1:
        return np.broadcast_to(array[0], (resamples, array.shape[1]))
    drawn = rng.multinomial(len(array), counts / len(array), size=resamples)
    return drawn @ rows / len(array)


def paired_difference(
    before: Sequence[float],
    after: Sequence[float],
    *,
    level: float = LEVEL,
    seed: int = 0,
    resamples: int = RESAMPLES,
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


def _check_k(metric: str, n: int, k: int) -> None:
    if not 1 <= k <= n:
        raise InputError(f"{metric}@{k} needs k from 1 to the {n} samples drawn")
