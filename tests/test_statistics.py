"""What few seeds can say, against closed forms, enumeration and a simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from maspo.errors import InputError
from maspo.lab.race.inference import (
    area,
    collapse,
    compared,
    conclude,
    holm,
    improvement,
    interquartile_mean,
    mean,
    mean_estimate,
    median_reached,
    reached,
    resampled_estimate,
    seeds_needed,
)


def told(scores, base, *, adjusted=0.001, failed=0):
    found = compared(dict(enumerate(scores)), dict(enumerate(base)))
    return conclude("maspo", "grpo", found, adjusted, failed)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], 3.0),
        ([1.0, 9.0], 5.0),
        ([9.0, 1.0, 2.0], 4.0),  # nothing to leave out of three
        ([0.0, 2.0, 4.0, 100.0], 3.0),
        ([100.0, 1.0, 2.0, 6.0, -100.0], 3.0),
        ([float(v) for v in (0, 0, 1, 2, 3, 6, 50, 60)], 3.0),
    ],
)
def test_interquartile_mean_by_hand(values, expected):
    assert interquartile_mean(values) == pytest.approx(expected)


small = st.lists(st.integers(0, 3), min_size=1, max_size=6)


@given(small, small)
def test_improvement_counts_all_pairs_and_half_the_ties(one, other):
    pairs = list(itertools.product(one, other))
    expected = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)
    assert improvement(np.array(one), np.array(other)) == pytest.approx(expected)


def quantiles(values):
    """The 2.5% and 97.5% quantiles of equally likely values, as sets of neighbours."""
    ordered = sorted(values)
    near = [ordered[int(len(ordered) * q) - 1 : int(len(ordered) * q) + 2] for q in (0.025, 0.975)]
    return [(min(part) - 1e-9, max(part) + 1e-9) for part in near]


def test_the_interval_is_that_of_all_resamples():
    """Every one of the 4^4 resamples, enumerated."""
    values = [0.10, 0.27, 0.31, 0.55]
    means = [sum(drawn) / 4 for drawn in itertools.product(values, repeat=4)]
    found = resampled_estimate(mean, values)
    assert found.value == pytest.approx(sum(values) / 4)
    (a, b), (c, d) = quantiles(means)
    assert a - 0.006 <= found.low <= b + 0.006 and c - 0.006 <= found.high <= d + 0.006


def test_pairs_are_resampled_together():
    """One is always 1 above the other, so every resample of pairs has the difference 1."""
    base = [0.0, 10.0, 20.0, 30.0]
    found = compared({s: v + 1 for s, v in enumerate(base)}, dict(enumerate(base)))
    assert (found.difference.low, found.difference.high) == (1, 1)
    # A run is above those of its own seed and of lower ones: (1 + sum of squared shares) / 2 of the
    # pairs. Shares of 1/4 each give the least; those of (3, 1)/4 are beaten by 4 resamples of 256.
    assert found.improvement.value == found.improvement.low == pytest.approx(10 / 16)
    assert found.improvement.high == pytest.approx((1 + 10 / 16) / 2)
    assert found.p is None and found.needed is None


def test_only_shared_seeds_are_compared():
    found = compared({1: 0.5, 2: 0.6, 7: 0.0}, {2: 0.5, 1: 0.3, 3: 0.9})
    assert found.seeds == 2 and found.difference.value == pytest.approx(0.15)
    assert compared({1: 0.5}, {2: 0.5}) is None


def test_a_single_run_has_no_interval_and_none_is_an_error():
    for alone in (mean_estimate([0.4]), resampled_estimate(interquartile_mean, [0.4])):
        assert (alone.value, alone.low, alone.high) == (0.4, None, None)
    with pytest.raises(InputError, match="at least one run"):
        resampled_estimate(mean, [])
    with pytest.raises(InputError, match="at least one run"):
        mean_estimate([])


def test_the_interval_of_a_mean_over_seeds_is_students():
    """By the table: t of 2 degrees of freedom is 4.303. The values have a deviation of 1."""
    found = mean_estimate([1.0, 2.0, 3.0])
    assert found.value == 2
    assert found.high - 2 == pytest.approx(2 - found.low) == pytest.approx(4.303 / 3**0.5, abs=1e-3)


def test_p_is_that_of_the_paired_t_test():
    one, base = [0.5, 0.6, 0.55, 0.7], [0.4, 0.58, 0.5, 0.61]
    gaps = np.subtract(one, base)
    t = gaps.mean() / (gaps.std(ddof=1) / 2)
    found = compared(dict(enumerate(one)), dict(enumerate(base)))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), 3))


@pytest.mark.parametrize(
    ("effect", "n"),
    # Tables of the paired t-test, two-sided 5%, power 80%: effect in standard deviations, sample.
    [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)],
)
def test_seeds_needed_as_in_the_tables(effect, n):
    assert seeds_needed(-3 * effect, 3.0) == n


def test_seeds_needed_by_simulation():
    n = seeds_needed(1.0, 1.25)
    draws = np.random.default_rng(0).normal(1.0, 1.25, size=(20_000, n))
    power = (stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean()
    assert 0.8 - 0.01 < power < 0.87


def test_no_number_of_seeds_shows_no_effect():
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(1.0, 0.0) is None
    assert seeds_needed(1e-9, 1.0) is None


def test_holm_by_hand():
    # 4 known: 0.01 x 4, then 0.02 x 3, 0.03 x 2 = 0.06 held up by the one before, 0.5 x 1.
    assert holm([0.03, None, 0.01, 0.5, 0.02]) == pytest.approx([0.06, None, 0.04, 0.5, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_area_of_trapezoids_by_hand():
    assert area([10, 20, 40], [0.0, 1.0, 0.5]) == pytest.approx((5 + 15) / 30)
    assert area([10], [0.3]) == 0.3


def test_threshold_by_hand():
    assert reached([8, 16, 24], [0.1, 0.5, 0.4], 0.5) == 16
    assert reached([8, 16, 24], [0.1, 0.5, 0.4], 0.51) is None
    assert median_reached([8.0, None, 24.0]) == 24.0
    assert median_reached([8.0, None, None]) is None
    assert median_reached([8.0, 24.0]) == 16.0
    assert median_reached([8.0, None]) is None and median_reached([]) is None


def lines(*rewards, norm=1.0):
    return [{"step": i + 1, "reward": r, "grad_norm": norm} for i, r in enumerate(rewards)]


def test_collapse_is_half_of_the_best_smoothed_reward():
    # From 1 down to 0 the running mean is 0.9^n: below 0.5 after the 7th zero.
    assert collapse(lines(1.0, *[0.0] * 6)) is None
    assert "by step 8" in collapse(lines(1.0, *[0.0] * 7))
    recovered = lines(1.0, *[0.0] * 7, *[1.0] * 50)
    assert collapse(recovered) is not None
    assert collapse(lines(0.2, 0.3, 0.25)) is None


def test_a_gradient_that_is_not_finite_is_a_collapse():
    """In a file of metrics it is null."""
    rows = [*lines(0.5), {"step": 2, "grad_norm": None}]
    assert "step 2" in collapse(rows)
    assert collapse([{"step": 1, "reward": 0.5}, {"step": 2}]) is None


# --- the sentence --------------------------------------------------------------------------------

BASE = [0.50, 0.52, 0.49, 0.51, 0.50]


def test_a_clear_difference_is_claimed_with_its_direction():
    up = told([0.60, 0.63, 0.58, 0.62, 0.61], BASE)
    assert up.finding == "better" and "+10.4 points" in up.text and "5 seeds" in up.text
    down = told([0.40, 0.43, 0.38, 0.42, 0.41], BASE)
    assert down.finding == "worse" and "\N{MINUS SIGN}9.6 points" in down.text


def test_two_seeds_say_nothing_however_large_the_gap():
    found = told([0.90, 0.91], [0.10, 0.12])
    assert found.finding == "none" and "nothing can be said from 2 seeds" in found.text
    noisy = told([0.6, 0.5], [0.5, 0.5])
    assert "roughly" in noisy.text and "seeds" in noisy.text.split("roughly")[1]


def test_an_interval_that_holds_zero_is_no_difference():
    found = told([0.60, 0.46, 0.58, 0.47, 0.52], BASE)
    assert found.finding == "none" and "no difference is shown" in found.text
    assert "would need roughly" in found.text


def test_what_a_correction_for_many_comparisons_takes_back_is_a_hint():
    found = told([0.60, 0.63, 0.58, 0.62, 0.61], BASE, adjusted=0.2)
    assert found.finding == "hint" and "p = 0.2" in found.text


def test_a_failed_run_forbids_a_claim():
    found = told([0.60, 0.63, 0.58, 0.62, 0.61], BASE, failed=1)
    assert found.finding == "none" and "1 run has no score" in found.text


def test_equal_gaps_are_not_called_proof():
    found = told([v + 0.01 for v in BASE], BASE)
    assert found.finding == "none"
    same = told(BASE, BASE)
    assert same.finding == "none" and "holds zero" in same.text


def test_without_a_shared_seed_nothing_is_said():
    assert "nothing can be said" in conclude("a", "b", None, None, 0).text


def test_claims_are_rarely_wrong():
    """Two objectives without any difference, many times: claims must stay near one in twenty."""
    rng = np.random.default_rng(1)
    races, claims = 150, 0
    for _ in range(races):
        one, base = rng.normal(0.5, 0.05, size=(2, 5)).tolist()
        found = compared(dict(enumerate(one)), dict(enumerate(base)))
        claims += conclude("a", "b", found, found.p, 0).finding in ("better", "worse")
    assert claims <= races * 0.05 + 3 * math.sqrt(races * 0.05 * 0.95)
