"""Races over learning rates: best value, tolerance, and what may be said of them."""

import json
import math
import random

import numpy as np
import pytest
from races import begun, plan, pretend
from scipy import stats

from maspo.errors import InputError
from maspo.lab.race.analysis import analyse
from maspo.lab.race.fairness import matched
from maspo.lab.race.inference import smallest_shown
from maspo.lab.race.plan import Condition, Plan
from maspo.lab.race.report import write_race
from maspo.lab.race.tolerance import compare_tolerances, rate_curve, tolerances

RATES = (1e-4, 2e-4, 4e-4, 8e-4)


def tolerance_by_hand(means, rates):
    """Walk up from the best rate until two points are lost, in plain Python."""
    top = max(means)
    best = means.index(top)
    for i in range(best + 1, len(means)):
        if means[i] < top - 0.02:
            part = (means[i - 1] - (top - 0.02)) / (means[i - 1] - means[i])
            at = math.log(rates[i - 1]) + part * math.log(rates[i] / rates[i - 1])
            return math.exp(at) / rates[best], False
    return rates[-1] / rates[best], True


def test_the_tolerance_is_where_two_points_are_lost():
    # From 0.60 at 2e-4 to 0.56 at 4e-4: half of the way, in the logarithm.
    found, never = tolerances([0.5, 0.6, 0.56, 0.1], RATES)
    assert 2**found == pytest.approx(math.sqrt(2)) and not never
    # Nothing is lost but where the rates end; and one at the last rate has no room at all.
    for curve, factor in (([0.6, 0.59, 0.595, 0.585], 8.0), ([0.1, 0.2, 0.3, 0.4], 1.0)):
        found, never = tolerances(curve, RATES)
        assert 2**found == pytest.approx(factor) and never
    draw = random.Random(0)
    curves = [[round(draw.uniform(0.5, 0.6), 3) for _ in RATES] for _ in range(300)]
    found, never = tolerances(curves, RATES)
    for value, open_end, curve in zip(found, never, curves, strict=True):
        expected = tolerance_by_hand(curve, RATES)
        assert (2**value, bool(open_end)) == (pytest.approx(expected[0]), expected[1])


def curve(label, shape, *, noise=0.0, seeds=10, shift=0.0, stream=0):
    """A curve of scores with noise of its own and a part that all objectives of a seed share."""
    draw, common = random.Random(f"{label} {stream}"), random.Random(stream)
    scores = {}
    for seed in range(seeds):
        shared = common.gauss(0, noise)
        scores[seed] = {
            rate: value + shift + shared + draw.gauss(0, noise / 3)
            for rate, value in zip(RATES, shape, strict=True)
        }
    return rate_curve(label, RATES, scores, failed=0)


NARROW, WIDE = (0.60, 0.56, 0.40, 0.2), (0.60, 0.60, 0.59, 0.5)


def test_a_difference_that_is_there_is_found_and_said():
    narrow, wide = curve("grpo", NARROW, noise=0.01), curve("wide", WIDE, noise=0.01)
    base, judged = compare_tolerances([narrow, wide], RATES)
    assert base.conclusion is None and judged.conclusion.finding == "more"
    # sqrt 2 against a little more than 4, by hand.
    expected = tolerance_by_hand(wide.means, RATES)[0] / tolerance_by_hand(narrow.means, RATES)[0]
    assert judged.against.value == pytest.approx(expected)
    assert judged.against.low < expected < judged.against.high and judged.against.low > 1
    assert judged.conclusion.text.startswith("wide, tolerance against grpo: ")
    _, turned = compare_tolerances([wide, narrow], RATES)
    assert turned.conclusion.finding == "less"
    assert turned.against.value == pytest.approx(1 / expected)


def test_step_size_is_not_shape():
    """The same curve, shifted by one rate: another best rate, the same tolerance."""
    one = curve("one", (0.5, 0.60, 0.56, 0.4))
    other = curve("other", (0.60, 0.56, 0.4, 0.2))
    assert (one.best_rate, other.best_rate) == (2e-4, 1e-4)
    assert one.tolerance.value == pytest.approx(other.tolerance.value)
    _, judged = compare_tolerances([one, other], RATES)
    assert judged.against.value == pytest.approx(1) and judged.conclusion.finding == "none"


def test_of_equal_objectives_few_are_told_apart():
    """Of 60 pairs that differ by noise alone: a claim at 5% is as rare as it should be."""
    claims = 0
    for stream in range(60):
        one = curve("one", NARROW, noise=0.02, seeds=6, stream=stream)
        other = curve("other", NARROW, noise=0.02, seeds=6, stream=stream)
        _, judged = compare_tolerances([one, other], RATES)
        claims += judged.conclusion.finding in ("more", "less")
    assert claims <= 8  # of 60 at 5% no more than 8 come by chance in 998 cases of 1000


def test_a_bound_claims_no_more_than_a_bound_can():
    flat, narrow = curve("flat", (0.6, 0.6, 0.6, 0.6)), curve("grpo", NARROW, noise=0.003)
    assert flat.tolerance.bound == "at least" and flat.tolerance.value == pytest.approx(8)
    _, judged = compare_tolerances([narrow, flat], RATES)
    assert judged.conclusion.finding == "more" and "at least" in judged.conclusion.text
    late = curve("late", (0.4, 0.5, 0.59, 0.60), noise=0.003)  # its best rate is the highest
    _, judged = compare_tolerances([narrow, late], RATES)
    assert judged.against.value < 1 and judged.conclusion.finding == "none"
    _, judged = compare_tolerances([flat, curve("other", (0.6, 0.6, 0.6, 0.6))], RATES)
    assert "neither lost two points" in judged.conclusion.text


def test_seeds_that_lack_a_rate_are_left_out():
    scores = {1: dict.fromkeys(RATES, 0.5), 2: {RATES[0]: 0.9}}
    found = rate_curve("x", RATES, scores, failed=3)
    assert list(found.scores) == [1] and found.best == 0.5 and found.best_rate == RATES[0]
    assert found.tolerance.low is None and found.tolerance.high is None  # of one seed
    assert rate_curve("x", RATES, {}, failed=0).best is None


def test_the_smallest_difference_shown_is_shown_four_times_in_five():
    """By simulation: normal differences with that mean, tested at 5%."""
    for seeds in (3, 10):
        effect = smallest_shown(2.0, seeds)
        draws = np.random.default_rng(1).normal(effect, 2.0, size=(20_000, seeds))
        shown = (stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean()
        assert shown == pytest.approx(0.8, abs=0.01)
    assert smallest_shown(2.0, 2) > smallest_shown(2.0, 3)


# --- the race ------------------------------------------------------------------------------------


def test_every_objective_is_raced_at_every_rate():
    found = plan(staleness=(0, 4), sweep=(4e-4, 1e-4))
    assert found.sweep == (1e-4, 4e-4)
    trials = found.trials()
    assert len(trials) == 2 * 2 * 2 * 2 == len({trial.name for trial in trials})
    assert [trial.seed for trial in trials] == [1] * 8 + [2] * 8
    rates = {found.recipe_of(trial).training.learning_rate for trial in trials}
    assert rates == {1e-4, 4e-4}
    assert Plan.read(json.loads(json.dumps(found.describe()))) == found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sweep": (1e-4,)}, "one learning rate is no sweep"),
        ({"sweep": (1e-4, 1e-4)}, "given twice"),
        ({"sweep": (1e-4, -1.0)}, "must be positive"),
        ({"sweep": (1e-4, 2e-4), "rates": (1e-4,), "tuning_seeds": 1}, "not both"),
    ],
)
def test_a_sweep_that_cannot_be_run_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        plan(**options)


def test_all_updates_are_scaled_to_the_baselines():
    found = plan("grpo:epsilon_low=0.1,maspo", equal_norm=True)
    for trial in found.trials():
        asked = found.recipe_of(trial).training.match_norm
        assert asked == {"name": "grpo", "epsilon_low": 0.1}
    assert plan().recipe.training.match_norm is None
    assert matched(found) == ["every update is scaled to the norm of GRPO(epsilon_low=0.1)"]
    assert matched(plan()) == []


def test_a_sweep_is_reported_with_its_figures(tmp_path):
    found = plan("grpo,maspo", seeds=3, staleness=(0, 4), sweep=RATES)
    folder = begun(tmp_path / "race", found)
    shapes = {"grpo": NARROW, "maspo": WIDE}
    for trial in found.trials():
        value = shapes[trial.entrant][RATES.index(trial.learning_rate)]
        pretend(folder, trial, value + 0.001 * trial.seed * trial.learning_rate / 1e-4)
    analysis = analyse(folder)
    assert [sweep.condition.staleness for sweep in analysis.sweeps] == [0, 4]
    # The groups compare each objective at its own best rate.
    rates = [line.learning_rate for line in analysis.groups[0].lines]
    assert rates == [curve.best_rate for curve in analysis.sweeps[0].curves]
    assert analysis.groups[1].condition == Condition(updates=4, staleness=4)
    write_race(folder)
    text = (folder.path / "report.md").read_text()
    assert "maspo, tolerance against grpo: " in text and "| Tolerance |" in text
    assert "How much rate each bears" in (folder.path / "report.html").read_text()
    assert (folder.path / "plots" / "rates.png").exists()
    content = json.loads((folder.path / "results.json").read_text())
    assert len(content["groups"][0]["sweep"]) == 2
    kept = content["groups"][0]["sweep"][0]
    assert kept["tolerance"]["value"] == pytest.approx(tolerance_by_hand(
        [sum(v) / 3 for v in zip(*kept["scores"].values(), strict=True)], RATES
    )[0])  # fmt: skip


def test_a_sweep_of_which_no_run_is_done_has_a_report(tmp_path):
    folder = begun(tmp_path / "race", plan(sweep=RATES))
    analysis = write_race(folder)
    assert [curve.best for curve in analysis.sweeps[0].curves] == [None, None]
