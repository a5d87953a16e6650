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


def interval(
    per_problem: Sequence[float],
    level: float = LEVEL,
    *,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Return low and high of the mean over problems, or over runs, of which these are a sample.

    A percentile bootstrap over the problems and two imagined ones, one at either bound, so that it
    keeps its level where all or nearly all values are equal: `scripts/coverage.py` measures that, and
    `docs/statistics.md` has the table. Of a few runs these two would outweigh what was seen, and a
    bootstrap is too narrow: scores of runs, which are means of many problems, have no bounds here,
    and get the interval of Student's t.

    Args:
        per_problem: one value each.
        level: the share of samples of problems whose interval shall hold the true mean.
        bounds: between which a value can lie; -1 and 1 for differences of scores; None for runs.
        seed, resamples: of the bootstrap.

    Raises InputError for no problem, fewer than two runs, or a value outside the bounds.
    """
    if bounds is None:
        return _by_students_t(per_problem, level)
    low, high = bounds
    if any(not low <= value <= high for value in per_problem):
        raise InputError(f"a value lies outside of its bounds, {low:g} and {high:g}")
    tables = [[(value,) for value in per_problem]]
    drawn = _resampled(tables, bounds, level, seed, resamples)[:, 0]
    return _ends(drawn, level)


def _by_students_t(values: Sequence[float], level: float) -> tuple[float, float]:
    from scipy import stats

    if len(values) < 2:
        raise InputError("an interval over runs needs two of them")
    mean = sum(values) / len(values)
    error = (_variance(values) / len(values)) ** 0.5
    reach = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * error
    return mean - reach, mean + reach


def bootstrap_interval(
    values: Sequence[float],
    *,
    level: float = LEVEL,
    bounds: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Estimate the mean of one value per problem, with its `interval`.

    Of one problem low and high are None. Raises InputError for none.
    """
    tables = [[(value,) for value in values]]
    return mean_estimates(tables, level=level, bounds=bounds, seed=seed, resamples=resamples)[0]


def mean_estimates(
    tables: Sequence[Sequence[Sequence[float]]],
    *,
    level: float = LEVEL,
    bounds: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Estimate]:
    """Estimate several means at once, from the same resampled problems.

    Args:
        tables: one per benchmark, each with a row per problem and a column per metric. Several
            give the unweighted mean of their means; each is resampled by itself.
        level, bounds, seed, resamples: as in `interval`.

    Returns one estimate per column. Raises InputError for a benchmark without problems.
    """
    drawn = _resampled(tables, bounds, level, seed, resamples)
    columns = range(drawn.shape[1])
    sums = [[sum(row[c] for row in table) / len(table) for c in columns] for table in tables]
    means = [sum(column) / len(tables) for column in zip(*sums, strict=True)]
    if min(map(len, tables)) < 2:
        return [Estimate(value=float(mean), low=None, high=None) for mean in means]
    return [
        Estimate(value=float(mean), low=low, high=high)
        for mean, (low, high) in zip(
            means, (_ends(drawn[:, c], level) for c in columns), strict=True
        )
    ]


def _resampled(
    tables: Sequence[Sequence[Sequence[float]]],
    bounds: tuple[float, float],
    level: float,
    seed: int,
    resamples: int,
) -> "np.ndarray":
    """Means of the means of resampled tables, [resamples, columns]."""
    import numpy as np

    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, not {level}")
    if not tables or not all(map(len, tables)):
        raise InputError("an estimate needs at least one problem")
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(table, dtype=float) for table in tables]
    drawn = [_resampled_means(array, bounds, resamples, rng) for array in arrays]
    return np.mean(drawn, axis=0)


def _resampled_means(
    array: "np.ndarray",
    bounds: tuple[float, float],
    resamples: int,
    rng: "np.random.Generator",
) -> "np.ndarray":
    """Mean rows of resampled problems, [resamples, columns].

    Drawing problems with replacement is drawing the counts of the distinct rows, which are few.
    """
    import numpy as np

    imagined = np.repeat(np.asarray(bounds)[:, None], array.shape[1], axis=1)
    rows, counts = np.unique(np.concatenate([array, imagined]), axis=0, return_counts=True)
    drawn = rng.multinomial(len(array), counts / counts.sum(), size=resamples)
    return drawn @ rows / len(array)


def _ends(drawn: "np.ndarray", level: float) -> tuple[float, float]:
    import numpy as np

    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """How likely it is that one model is better than another on problems of this kind."""

    better: float
    """The probability that its mean is higher."""
    better_by: float
    """The probability that its mean is higher by at least `margin`."""
    margin: float


def decide(
    before: Sequence[float],
    after: Sequence[float],
    *,
    margin: float = 0.01,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Decision:
    """Return how likely `after` beats `before` on the same problems in the same order.

    The posterior of the mean difference under a Dirichlet prior over problems (the Bayesian
    bootstrap), with the imagined problems of `interval`. Raises InputError as `paired_difference`.
    """
    import numpy as np

    values = np.asarray([*_differences(before, after), -1.0, 1.0])
    distinct, counts = np.unique(values, return_counts=True)
    drawn = np.random.default_rng(seed).dirichlet(counts, size=resamples) @ distinct
    return Decision(
        better=float(np.mean(drawn > 0)), better_by=float(np.mean(drawn >= margin)), margin=margin
    )


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Where the variance of a mean score comes from, in squares of the score; their sum is all of it."""

    problems: float
    """From which problems were asked."""
    samples: float
    """From which samples were drawn of each."""
    seeds: float
    """From which training runs were made; 0 of a single one, which cannot tell."""


def spread(correct: Sequence[Sequence[int]], n: int) -> Spread:
    """Split the variance of avg@n into problems, samples and training seeds.

    Args:
        correct: a row per training run, the number of correct samples of each problem, in order.
        n: samples of each problem.

    Raises InputError for fewer than two problems or samples, or rows of different lengths.
    """
    runs, problems = len(correct), len(correct[0]) if correct else 0
    if problems < 2 or n < 2 or any(len(row) != problems for row in correct):
        raise InputError("a split of the variance needs two problems and two samples of each")
    shares = [[count / n for count in row] for row in correct]
    within = [[p * (1 - p) / (n - 1) for p in row] for row in shares]
    samples = sum(map(sum, within)) / (runs * problems) ** 2
    by_problem = [sum(column) / runs for column in zip(*shares, strict=True)]
    by_run = [sum(row) / problems for row in shares]
    noise = samples * runs * problems  # the mean variance of one share by its samples
    seeds = max(0.0, _variance(by_run) - noise / problems) / runs if runs > 1 else 0.0
    between = max(0.0, _variance(by_problem) - noise / runs) / problems
    return Spread(problems=between, samples=samples, seeds=seeds)


def _variance(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)


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
    return bootstrap_interval(
        _differences(before, after), level=level, bounds=(-1.0, 1.0), seed=seed, resamples=resamples
    )


def _differences(before: Sequence[float], after: Sequence[float]) -> list[float]:
    if len(before) != len(after):
        raise InputError(f"{len(before)} problems before but {len(after)} after: not the same set")
    return [new - old for old, new in zip(before, after, strict=True)]


def _check_counts(n: int, correct: int) -> None:
    if n < 1 or not 0 <= correct <= n:
        raise InputError(f"{correct} correct of {n} samples is impossible")


def _check_k(metric: str, n: int, k: int) -> None:
    if not 1 <= k <= n:
        raise InputError(f"{metric}@{k} needs k from 1 to the {n} samples drawn")
