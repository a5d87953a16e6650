"""avg@k, pass@k, maj@k and their intervals against enumeration, closed forms and scipy."""

from collections import Counter
from fractions import Fraction
from itertools import combinations, product
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from maspo.errors import InputError
from maspo.evaluation import (
    avg_at_k,
    bootstrap_interval,
    decide,
    interval,
    maj_at_k,
    mean_estimates,
    paired_difference,
    pass_at_k,
    spread,
)

COUNTS = [(n, c, k) for n in range(1, 9) for c in range(n + 1) for k in range(1, n + 1)]


@pytest.mark.parametrize(("n", "c", "k"), COUNTS)
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_sample(n, c, k):
    samples = [True] * c + [False] * (n - c)
    subsets = list(combinations(samples, k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), rel=1e-12)


@given(st.integers(1, 2000), st.data())
def test_pass_at_1_is_avg_and_pass_grows_with_k(n, data):
    c = data.draw(st.integers(0, n))
    k = data.draw(st.integers(1, n))
    assert pass_at_k(n, c, 1) == avg_at_k(n, c)
    assert 0 <= pass_at_k(n, c, 1) <= pass_at_k(n, c, k) <= 1


@pytest.mark.parametrize(("n", "c", "k"), [(4, 2, 5), (4, 2, 0), (4, 5, 1), (4, -1, 1), (0, 0, 1)])
def test_impossible_counts_are_refused(n, c, k):
    with pytest.raises(InputError):
        pass_at_k(n, c, k)


def vote(samples):
    """The chance that a vote is right: "" does not vote, a tie is drawn by lot."""
    votes = Counter(answer for answer in samples if answer)
    first = [answer for answer, count in votes.items() if count == max(votes.values())]
    return Fraction(first.count("right"), len(first)) if first else Fraction(0)


VOTES = [  # correct, the wrong answers, without an answer
    (0, (), 4), (3, (), 0), (1, (1,), 0), (2, (2, 2), 1), (3, (3, 1), 0), (1, (1, 1, 1, 1), 2),
    (2, (3, 2, 1), 1), (4, (2, 2), 0), (0, (2, 1), 1), (2, (1, 1, 1), 3), (3, (4, 3), 0),
    (4, (4,), 1), (2, (2, 2, 2, 1), 0), (5, (3,), 2), (1, (5, 1), 2), (6, (), 3),
]  # fmt: skip


@pytest.mark.parametrize(("right", "wrong", "silent"), VOTES)
def test_maj_at_k_is_the_mean_vote_of_all_subsets(right, wrong, silent):
    rivals = [f"wrong {i}" for i, count in enumerate(wrong) for _ in range(count)]
    samples = ["right"] * right + rivals + [""] * silent
    for k in range(1, len(samples) + 1):
        subsets = list(combinations(samples, k))
        expected = sum(map(vote, subsets)) / len(subsets)
        assert maj_at_k(len(samples), right, wrong, k) == float(expected)


@given(st.integers(0, 6), st.lists(st.integers(1, 4), max_size=4), st.integers(0, 3), st.data())
def test_maj_at_1_is_avg_and_maj_never_beats_pass(right, wrong, silent, data):
    n = max(1, right + sum(wrong) + silent)
    k = data.draw(st.integers(1, n))
    assert maj_at_k(n, right, wrong, 1) == avg_at_k(n, right)
    assert maj_at_k(n, right, wrong, k) <= pass_at_k(n, right, k)


@pytest.mark.parametrize(
    ("n", "right", "wrong", "k"), [(4, 2, [1], 5), (4, 2, [1], 0), (4, 2, [3], 1), (4, 2, [0], 1)]
)
def test_impossible_votes_are_refused(n, right, wrong, k):
    with pytest.raises(InputError):
        maj_at_k(n, right, wrong, k)


def test_the_interval_of_a_tiny_set_matches_its_exact_bootstrap_distribution():
    values = [0.0, 0.25, 1.0, 0.5]
    # All resamples of these and of the two imagined problems.
    means = np.array([np.mean(draw) for draw in product([*values, 0.0, 1.0], repeat=4)])
    found = bootstrap_interval(values, level=0.8, resamples=40_000)
    grid = 1 / 16  # the distribution is discrete: means lie on a grid of sixteenths
    assert found.value == pytest.approx(0.4375)
    assert abs(found.low - np.quantile(means, 0.1)) <= grid
    assert abs(found.high - np.quantile(means, 0.9)) <= grid


def test_the_interval_of_a_large_set_matches_the_normal_one():
    values = np.random.default_rng(7).random(2000)
    found = bootstrap_interval(list(values), level=0.9)
    half = NormalDist().inv_cdf(0.95) * values.std() / np.sqrt(len(values))
    assert found.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_the_interval_depends_on_the_seed_only():
    values = [0.0, 0.1, 0.7, 1.0, 0.3]
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, resamples=99, seed=3) != bootstrap_interval(
        values, resamples=99, seed=4
    )


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_equal_values_leave_room_for_other_problems(value):
    found = bootstrap_interval([value] * 5)
    assert found.value == value and 0 <= found.low <= value <= found.high <= 1
    assert found.high - found.low > 0.3
    # Of n draws from n + 2 all miss the imagined one with probability (1 - 1/(n+2))^n.
    low, high = interval([1.0] * 30)
    assert high == 1.0 and 0.85 < low < 0.95


def brute_ends(tables, bounds, resamples=100_000):
    """Percentiles of resampled means, the imagined problems among those drawn from."""
    rng = np.random.default_rng(5)
    means = 0.0
    for table in tables:
        pool = np.concatenate([table, bounds])
        means = means + rng.choice(pool, size=(resamples, len(table))).mean(axis=1) / len(tables)
    return np.quantile(means, [0.025, 0.975])


def test_intervals_are_those_of_resampling_row_by_row():
    values = np.random.default_rng(1).integers(0, 5, size=40) / 4
    low, high = brute_ends([values], (0, 1))
    assert interval(list(values), resamples=100_000) == pytest.approx((low, high), abs=0.01)
    found = paired_difference([0.0] * 40, list(values), resamples=100_000)
    low, high = brute_ends([values], (-1, 1))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)


def test_a_macro_interval_resamples_each_benchmark_by_itself():
    rng = np.random.default_rng(2)
    small, large = rng.random(20), 0.5 * rng.random(60)
    tables = [[(v, 1 - v) for v in small], [(v, 1 - v) for v in large]]
    found, mirrored = mean_estimates(tables, resamples=100_000)
    assert found.value == pytest.approx((small.mean() + large.mean()) / 2)  # not weighted by size
    low, high = brute_ends([small, large], (0, 1))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)
    assert mirrored.value == pytest.approx(1 - found.value)


@pytest.mark.parametrize(
    ("mean", "spread", "samples"), [(0.01, None, 1), (0.03, 1, 32), (0.5, 1, 32), (0.97, 0.3, 32)]
)
def test_the_interval_keeps_its_level_at_thirty_problems(mean, spread, samples):
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(300):
        p = mean if spread is None else rng.beta(mean * spread, (1 - mean) * spread, size=30)
        low, high = interval(list(rng.binomial(samples, p, size=30) / samples), resamples=500)
        held += low <= mean <= high
    assert held >= 0.92 * 300


def test_a_value_outside_of_its_bounds_is_refused():
    with pytest.raises(InputError, match="outside of its bounds, 0 and 1"):
        interval([0.5, 1.5])


def test_a_decision_is_the_posterior_of_the_difference():
    same = decide([0.5] * 40, [0.5] * 40)
    assert same.better == pytest.approx(0.5, abs=0.02)
    clear = decide([0.2] * 200, [0.5] * 200, margin=0.1)
    assert clear.better > 0.999 and clear.better_by > 0.999
    back = decide([0.5] * 200, [0.2] * 200)
    assert back.better < 0.001
    # Differences of 1 and -1 alone: the mean is above 0 where a Beta(31, 11) variate is above 1/2.
    found = decide([0.0] * 30 + [1.0] * 10, [1.0] * 30 + [0.0] * 10, resamples=100_000)
    assert found.better == pytest.approx(1 - beta.cdf(0.5, 31, 11), abs=0.003)


def test_the_spread_of_a_score_is_split_into_its_sources():
    rng = np.random.default_rng(4)
    n, problems, runs = 8, 40, 3
    split, means = [], []
    for _ in range(300):
        skill = rng.beta(2, 2, size=problems)
        shift = rng.normal(0, 0.05, size=(runs, 1))
        p = np.clip(skill + shift, 0, 1)
        counts = rng.binomial(n, p)
        split.append(spread(counts.tolist(), n))
        means.append(counts.mean() / n)
    # Of Beta(2, 2): variance 1/20, mean p(1-p) 1/5; all as the estimators define it.
    assert np.mean([s.problems for s in split]) == pytest.approx(0.05 / problems, rel=0.1)
    assert np.mean([s.samples for s in split]) == pytest.approx(
        0.2 / (n * problems * runs), rel=0.1
    )
    assert np.mean([s.seeds for s in split]) == pytest.approx(0.05**2 / runs, rel=0.25)
    whole = np.mean([s.problems + s.samples + s.seeds for s in split])
    assert whole == pytest.approx(np.var(means), rel=0.25)
    assert spread([[4] * 10], 8).seeds == 0.0


@pytest.mark.parametrize(("correct", "n"), [([], 8), ([[3]], 8), ([[1, 0]], 1), ([[1, 2], [1]], 8)])
def test_a_spread_that_cannot_be_split_is_refused(correct, n):
    with pytest.raises(InputError, match="two problems"):
        spread(correct, n)


def test_one_problem_has_a_value_but_no_interval():
    found = bootstrap_interval([0.25])
    assert (found.value, found.low, found.high) == (0.25, None, None)
    [found] = mean_estimates([[(0.25,)], [(0.5,), (1.0,)]])
    assert (found.value, found.low, found.high) == (0.5, None, None)


@pytest.mark.parametrize("tables", [[], [[]], [[(1.0,)], []]])
def test_an_estimate_needs_a_problem(tables):
    with pytest.raises(InputError, match="at least one problem"):
        mean_estimates(tables)


@pytest.mark.parametrize("level", [0, 1, 1.5])
def test_a_level_is_a_share(level):
    with pytest.raises(InputError, match="level"):
        bootstrap_interval([0.0, 1.0], level=level)


def test_a_constant_gain_is_seen_when_paired_and_hidden_when_not():
    before = [0.0, 0.125, 0.5, 0.75, 0.25, 0.875] * 10
    after = [value + 0.125 for value in before]
    gain = paired_difference(before, after)
    assert gain.value == pytest.approx(0.125) and 0.05 < gain.low < 0.125 < gain.high < 0.2
    assert bootstrap_interval(after).low < bootstrap_interval(before).high


def test_pairs_must_match():
    with pytest.raises(InputError, match="not the same set"):
        paired_difference([0.0, 1.0], [1.0])
