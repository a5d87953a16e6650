"""The scores of benchmarks: by hand, and by enumeration of all subsets."""

from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest

from maspo.errors import InputError
from maspo.evaluation import Estimate, paired_difference
from maspo.evaluation.score_file import BenchmarkScores
from maspo.evaluation.scores import Judged, benchmark_scores, macro, score_differences

LETTERS = {"c": "correct", "u": "unparsable", "t": "timeout", "e": "error"}


def judged(problem_id, samples, cut=0):
    """One letter a sample: c correct, u, t, e other outcomes, a digit the wrong answer given."""
    outcomes = tuple(LETTERS.get(letter, "wrong") for letter in samples)
    extracted = tuple({"c": f"{n}.0", "u": None}.get(s, s) for n, s in enumerate(samples))
    finish = ("length",) * cut + ("stop",) * (len(samples) - cut)
    tokens = tuple(range(1, len(samples) + 1))
    return Judged(
        problem_id=problem_id, outcomes=outcomes, extracted=extracted, tokens=tokens, finish=finish
    )


SET = [judged("a", "cc12", cut=1), judged("b", "c11u"), judged("c", "uuet"), judged("d", "cccc")]


def test_every_figure_of_a_benchmark_by_hand():
    scores = benchmark_scores(SET)
    assert scores.problems == 4 and scores.samples == 4
    assert scores.correct == {"a": 2, "b": 1, "c": 0, "d": 4}
    assert scores.majority == {"a": 1.0, "b": 0.0, "c": 0.0, "d": 1.0}
    assert scores.mean_tokens == 2.5 and scores.truncated == 1 / 16
    assert scores.outcomes == {
        "correct": 7, "wrong": 4, "unparsable": 3, "timeout": 1, "error": 1,
    }  # fmt: skip
    values = {name: estimate.value for name, estimate in scores.metrics.items()}
    assert values == {"avg@4": 7 / 16, "pass@4": 3 / 4, "maj@4": 1 / 2}
    assert BenchmarkScores.model_validate_json(scores.model_dump_json()) == scores


def test_the_curve_is_the_share_of_subsets_for_every_k():
    scores = benchmark_scores(SET)
    assert list(scores.pass_curve) == [1, 2, 3, 4]
    for k, estimate in scores.pass_curve.items():
        shares = []
        for one in SET:
            subsets = list(combinations(one.outcomes, k))
            shares.append(sum("correct" in subset for subset in subsets) / len(subsets))
        assert estimate.value == pytest.approx(sum(shares) / 4)
        assert estimate.low <= estimate.value <= estimate.high
    assert scores.pass_curve[4] == scores.metrics["pass@4"]


def test_correct_answers_vote_as_one_and_a_tie_is_drawn_by_lot():
    assert judged("a", "cc11").majority(4) == 0.5  # "0.0" and "1.0" against twice "1"
    assert judged("a", "c123").majority(4) == 0.25
    assert judged("a", "tt1c").majority(4) == 0.0  # what could not be checked still votes
    assert judged("a", "uuuc").majority(4) == 1.0


def test_wrong_answers_of_one_value_vote_as_one_however_they_are_written():
    fields = {"problem_id": "a", "tokens": (1,) * 5, "finish": ("stop",) * 5}
    outcomes = ("correct",) * 2 + ("wrong",) * 3
    for written in (("0.5",) * 3, ("0.5", "1/2", r"\frac{1}{2}"), (r"\dfrac{2}{4}", "0.50", ".5")):
        one = Judged(outcomes=outcomes, extracted=("7", "7.0", *written), **fields)
        assert one.majority(5) == 0.0


def test_one_problem_and_a_benchmark_where_every_sample_failed():
    alone = benchmark_scores([judged("a", "c1")])
    assert alone.metrics["avg@2"] == Estimate(value=0.5, low=None, high=None)
    failed = benchmark_scores([judged("a", "ee"), judged("b", "ee")])
    assert failed.outcomes["error"] == 4
    for estimate in failed.metrics.values():
        assert estimate.value == estimate.low == 0.0 < estimate.high
    both = macro({"alone": alone, "failed": failed})
    assert both.metrics["avg@2"] == Estimate(value=0.25, low=None, high=None)


def test_the_macro_average_gives_each_benchmark_the_same_weight():
    small, large = [judged("a", "cc"), judged("b", "11")], [judged(str(i), "c1") for i in range(8)]
    found = macro({"small": benchmark_scores(small), "large": benchmark_scores(large)})
    assert found.benchmarks == ["small", "large"] and found.samples == 2
    assert found.metrics["avg@2"].value == 0.5
    assert found.metrics["pass@2"].value == (0.5 + 1) / 2
    # Resampled with a problem of 0 and one of 1: two of {0, 0, 1, 1}, eight of {0, 1, 8 times 1/2}.
    sums = {0.0: 1.0}
    for size, draw in [(4, {0.0: 0.5, 1.0: 0.5})] * 2 + [(16, {0.0: 0.1, 0.5: 0.8, 1.0: 0.1})] * 8:
        grown = Counter()
        for total, chance in sums.items():
            for value, weight in draw.items():
                grown[total + value / size] += chance * weight
        sums = grown
    below = [v for v in sorted(sums) if sum(w for u, w in sums.items() if u <= v) < 0.025]
    assert found.metrics["avg@2"].low == min(v for v in sums if v > below[-1])
    assert found.metrics["avg@2"].high == 1 - found.metrics["avg@2"].low
    assert found.pass_curve[1] == found.metrics["avg@2"]


def test_two_models_are_compared_problem_by_problem():
    better = [judged("d", "cccc"), judged("c", "c111"), judged("b", "cc11"), judged("a", "ccc1")]
    before, after = benchmark_scores(SET), benchmark_scores(better)
    found = score_differences({"set": before}, {"set": after})
    by_hand = paired_difference([0.5, 0.25, 0, 1], [0.75, 0.5, 0.25, 1])
    avg = found.benchmarks["set"]["avg@4"]
    assert avg.value == by_hand.value == 0.1875
    assert (avg.low, avg.high) == (by_hand.low, by_hand.high)
    assert found.benchmarks["set"]["pass@4"].value == 0.25
    assert found.macro == found.benchmarks["set"]
    twice = score_differences({"one": before, "two": before}, {"one": after, "two": before})
    assert twice.macro["avg@4"].value == 0.1875 / 2


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "no problem to score"),
        ([judged("a", "c1"), judged("a", "c1")], "'a' comes twice"),
        ([judged("a", "c1"), judged("b", "c")], "'b' has 1 samples, but 'a' has 2"),
    ],
)
def test_unusable_samples_are_refused(samples, message):
    with pytest.raises(InputError, match=message):
        benchmark_scores(samples)


def test_what_cannot_be_compared_is_refused():
    four, two = benchmark_scores(SET), benchmark_scores([judged("a", "c1")])
    with pytest.raises(InputError, match="2, 4 samples a problem"):
        macro({"four": four, "two": two})
    with pytest.raises(InputError, match="no benchmark"):
        macro({})
    with pytest.raises(InputError, match="4 samples a problem in one and 2"):
        score_differences({"set": four}, {"set": two})
    with pytest.raises(InputError, match="only 3 problems are in both"):
        score_differences({"set": four}, {"set": benchmark_scores(SET[:3])})
    with pytest.raises(InputError, match="cannot pair benchmarks x with y"):
        score_differences({"x": four}, {"y": four})


def test_the_mean_score_is_over_the_samples_that_have_one():
    one, other = judged("a", "cc"), judged("b", "cc")
    assert benchmark_scores([one, other]).score is None
    scored = [replace(one, scores=(0.5, None)), replace(other, scores=(1.0, 0.75))]
    assert benchmark_scores(scored).score == 0.75
