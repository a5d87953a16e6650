"""avg@k, pass@k and their intervals against enumeration, closed forms and simulation."""

from itertools import combinations, product
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maspo.errors import InputError
from maspo.evaluation import (
    avg_at_k,
    bootstrap_interval,
    estimates,
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


def test_estimates_are_named_and_averaged_over_problems():
    found = estimates([0, 1, 4], n=4, ks=(1, 2, 4))
    assert list(found) == ["avg@4", "pass@1", "pass@2", "pass@4"]
    assert found["avg@4"].value == pytest.approx(5 / 12)
    assert found["pass@2"].value == pytest.approx((0 + 3 / 6 + 1) / 3)
    assert found["pass@4"].value == pytest.approx(2 / 3)


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


@pytest.mark.parametrize("values", [[], [1.0]])
def test_an_interval_needs_two_problems(values):
    with pytest.raises(InputError, match="two or more"):
        bootstrap_interval(values)


def test_a_constant_gain_is_seen_exactly_when_paired_and_hidden_when_not():
    before = [0.0, 0.125, 0.5, 0.75, 0.25, 0.875]
    after = [value + 0.125 for value in before]
    gain = paired_difference(before, after)
    assert (gain.value, gain.low, gain.high) == (0.125, 0.125, 0.125)
    assert bootstrap_interval(after).low < bootstrap_interval(before).high


def test_pairs_must_match():
    with pytest.raises(InputError, match="not the same set"):
        paired_difference([0.0, 1.0], [1.0])
