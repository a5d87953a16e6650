"""avg@k, pass@k, maj@k and their intervals against enumeration, closed forms and scipy."""

from collections import Counter
from fractions import Fraction
from itertools import combinations, product
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap

from maspo.errors import InputError
from maspo.evaluation import (
    avg_at_k,
    bootstrap_interval,
    maj_at_k,
    mean_estimates,
    paired_difference,
    pass_at_k,
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
    means = np.array([np.mean(draw) for draw in product(values, repeat=4)])  # all 256 resamples
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
def test_equal_values_give_a_finite_interval_of_no_width(value):
    found = bootstrap_interval([value] * 5)
    assert (found.value, found.low, found.high) == (value, value, value)


def test_intervals_are_those_of_scipy():
    values = np.random.default_rng(1).integers(0, 5, size=40) / 4
    found = bootstrap_interval(list(values), resamples=100_000)
    theirs = bootstrap(
        (values,), np.mean, method="percentile", n_resamples=100_000, batch=1000, rng=5
    ).confidence_interval
    noise = 0.02 * (theirs.high - theirs.low)
    assert found.low == pytest.approx(theirs.low, abs=noise)
    assert found.high == pytest.approx(theirs.high, abs=noise)


def test_a_macro_interval_resamples_each_benchmark_by_itself():
    rng = np.random.default_rng(2)
    small, large = rng.random(20), 0.5 * rng.random(60)
    tables = [[(v, 1 - v) for v in small], [(v, 1 - v) for v in large]]
    found, mirrored = mean_estimates(tables, resamples=100_000)
    assert found.value == pytest.approx((small.mean() + large.mean()) / 2)  # not weighted by size

    def mean_of_means(a, b, axis=-1):
        return (a.mean(axis=axis) + b.mean(axis=axis)) / 2

    theirs = bootstrap(
        (small, large), mean_of_means, method="percentile", n_resamples=100_000, batch=1000, rng=5
    ).confidence_interval
    noise = 0.02 * (theirs.high - theirs.low)
    assert found.low == pytest.approx(theirs.low, abs=noise)
    assert found.high == pytest.approx(theirs.high, abs=noise)
    assert mirrored.low == pytest.approx(1 - found.high)  # the same problems were drawn


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


def test_a_constant_gain_is_seen_exactly_when_paired_and_hidden_when_not():
    before = [0.0, 0.125, 0.5, 0.75, 0.25, 0.875]
    after = [value + 0.125 for value in before]
    gain = paired_difference(before, after)
    assert (gain.value, gain.low, gain.high) == (0.125, 0.125, 0.125)
    assert bootstrap_interval(after).low < bootstrap_interval(before).high


def test_pairs_must_match():
    with pytest.raises(InputError, match="not the same set"):
        paired_difference([0.0, 1.0], [1.0])
