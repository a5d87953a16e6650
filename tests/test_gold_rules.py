r"""The rules of OlympiadBench and Minerva, and every reference answer against itself."""

import json

import pytest
from gold_remainder import REMAINDER

from maspo.data import Problem, load_problems
from maspo.engines.trl.rewards import reward_functions, rows_of
from maspo.errors import InputError
from maspo.evaluation.benchmarks import BENCHMARKS, load_benchmarks
from maspo.rewards import Gold, MathReward, Outcome, RewardSet, Verifier
from maspo.rewards.math_reward import MathSpec, as_gold


@pytest.fixture(scope="module")
def verifier():
    with Verifier(workers=2, time_limit=30.0) as one:
        yield one


def near(answer: str) -> Gold:
    return Gold(answer, relative=1e-4)


MASS, SPEED, HALF = near("4.5e33"), near(r"4.5 \times 10^{33}"), near("41.8")
SHARE = Gold("4.2", absolute=0.1, unit="%")
AREA, TIME = Gold("166", unit="$cm^2"), Gold("45", unit="minute")
RIGHT, PACE = Gold("90", unit=r"^{\circ}"), Gold(r"\frac{600}{7}", unit="km/h")

ACCEPTED = [
    # numbers like 4.5e33, on either side
    (r"\boxed{4.5e33}", MASS),
    (r"\boxed{4.5 \times 10^{33}}", MASS),
    (r"\boxed{4.5 \cdot 10^{33}}", SPEED),
    (r"\boxed{4.5E+33}", SPEED),
    ("So the luminosity is 4.5e33.", SPEED),
    (r"The answer is $4.5 \times 10^{33}$ erg/s.", MASS),
    ("The answer is 4.5e33 erg/s.", MASS),
    (r"\boxed{0.00001}", near("1e-5")),
    (r"\boxed{10^{-5}}", near("1e-5")),
    (r"\boxed{\arcsin(10/13)}", near("np.arcsin(10/13)")),
    (r"\boxed{-\frac{1}{3}}", near("-1./3")),
    # within the tolerance
    (r"\boxed{4.5004e33}", MASS),
    (r"\boxed{41.804}", HALF),
    (r"\boxed{0.8776}", near(r"\arcsin(10/13)")),
    (r"\boxed{\frac{1}{3}}", near("0.33333")),
    ("#### 6630", near("6630.1")),
    (r"\boxed{4.1}", SHARE),
    (r"\boxed{4.3}", SHARE),
    # units, given or left out
    (r"\boxed{4.5\times10^{33} \mathrm{~erg/s}}", SPEED),
    (r"\boxed{2.88 \times 10^{-19} \text{ J}}", near("2.88e-19")),
    (r"\boxed{1 \times 10^{-5}~\mathrm{M}}", near("1e-5")),
    (r"\boxed{0.49 M_\odot}", near("0.49")),
    (r"\boxed{9.6 \mathrm{~kg} \cdot \mathrm{m}^{2} / \mathrm{s}}", near("9.6")),
    (r"\boxed{\theta \approx 41.8^{\circ}}", HALF),
    (r"\boxed{41.8°}", HALF),
    (r"\boxed{d \approx 41.803 \text{ cm}}", HALF),
    (r"\boxed{\approx 41.8}", HALF),
    (r"\boxed{\$15.00}", near("15")),
    (r"\boxed{6{,}630 \text{ m}}", near("6630")),
    (r"\boxed{15\%}", near("0.15")),
    (r"\boxed{4.2\%}", SHARE),
    (r"\boxed{4.1}\%", SHARE),
    (r"The answer is $4.15\%$.", SHARE),
    ("about 4.1 percent", SHARE),
    (r"\boxed{166}", AREA),
    (r"\boxed{166 cm^2}", AREA),
    (r"\boxed{166 \text{ cm}^2}", AREA),
    (r"\boxed{166~\mathrm{cm}^{2}}", AREA),
    ("The answer is $166 cm^{2}$.", AREA),
    (r"\boxed{45 \text{ minutes}}", TIME),
    (r"\boxed{45}", TIME),
    ("The answer is 45 minutes.", TIME),
    (r"\boxed{\frac{600}{7} km/h}", PACE),
    (r"\boxed{\frac{600}{7}\ \mathrm{km/h}}", PACE),
    (r"\boxed{90^\circ}", RIGHT),
    (r"\boxed{90°}", RIGHT),
    ("It is 90 degrees", RIGHT),
    # a leading point belongs to the number
    (r"\boxed{.49}", near("0.49")),
    (r"\boxed{$.5$}", near("0.5")),
    (r"\boxed{.49 M_\odot}", near("0.49")),
    # a unit without a letter is none, and "s" is the second
    (r"\boxed{2 s}", Gold("2", unit="s")),
    (r"\boxed{1\frac{1}{2}}", Gold("1.5", unit="s")),
    (r"\boxed{5}", Gold("5", unit=" ")),
    # what has no number is left to math-verify
    (r"\boxed{\frac{\sqrt{2}}{2} c}", near(r"\frac{1}{\sqrt{2}}c")),
    (r"\boxed{2.2\tau}", near(r"2.2 \tau")),
]
REJECTED = [
    (r"\boxed{4.5e32}", MASS),
    (r"\boxed{4.6e33}", MASS),
    (r"\boxed{4.501e33}", MASS),
    (r"\boxed{41.9}", HALF),
    ("#### 4.5", near("4.2")),
    (r"\boxed{4.31}", SHARE),
    (r"\boxed{4.09}", SHARE),
    (r"\boxed{0.042}", SHARE),
    (r"\boxed{165 cm^2}", AREA),
    (r"\boxed{2.2 \tau}", near("2.2")),
    (r"\boxed{.5}", near("5")),
    (r"\boxed{.25}", near("25")),
    (r"\boxed{.75}", Gold("75", unit="minutes")),
    (r"\boxed{2 3}", Gold("23", unit="s")),
    (r"\boxed{1 2}", Gold("12", unit=" ")),
    (r"\boxed{1 2}", Gold("12", unit="$ $")),
    (r"\boxed{x}", near("2.2")),
    # math-verify takes these for equal: both round to 0
    (r"\boxed{5 \times 10^{-19}}", near(r"2.88 \times 10^{-19}")),
    (r"\boxed{0}", near(r"4.6 \times 10^{-24}")),
]


def test_rules_decide_as_written_by_hand(verifier):
    cases = ACCEPTED + REJECTED
    verdicts = verifier.verify([text for text, _ in cases], [gold for _, gold in cases])
    wanted = [Outcome.CORRECT] * len(ACCEPTED) + [Outcome.WRONG] * len(REJECTED)
    found = [verdict.outcome for verdict in verdicts]
    assert [c for c, f, w in zip(cases, found, wanted, strict=True) if f is not w] == []


def test_without_rules_a_gold_is_judged_as_a_string_is(verifier):
    texts = [text for text, _ in ACCEPTED + REJECTED]
    answers = [gold.answer for _, gold in ACCEPTED + REJECTED]
    assert verifier.verify(texts, [Gold(a) for a in answers]) == verifier.verify(texts, answers)


def test_the_tolerances_hold_without_the_layer_too():
    # ... and are needed: math-verify alone judges many of these otherwise.
    texts, golds = map(list, zip(*ACCEPTED, *REJECTED, strict=True))
    with Verifier(workers=2, time_limit=30.0, rules="math-verify") as alone:
        ruled = [v.outcome is Outcome.CORRECT for v in alone.verify(texts, golds)]
        plain = [
            v.outcome is Outcome.CORRECT for v in alone.verify(texts, [g.answer for g in golds])
        ]
    assert ruled == [True] * len(ACCEPTED) + [False] * len(REJECTED)
    assert plain.count(False) > 20 and any(plain[len(ACCEPTED) :])


@pytest.mark.parametrize("value", [0, -0.1, float("nan"), float("inf")])
def test_a_tolerance_that_is_not_positive_is_refused(verifier, value):
    with pytest.raises(InputError, match=r"answer 1: absolute must be positive"):
        verifier.verify(["1", "1"], ["1", Gold("1", absolute=value)])


LISTS = [  # of OlympiadBench: as given, in another order, with words, in boxes of their own
    ("221,8", [r"\boxed{8, 221}", r"\boxed{221 \text{ and } 8}", r"$\boxed{8}$ or $\boxed{221}$"]),
    ("7,14,18", [r"\boxed{18,7,14}", "The answer is $14$, $7$ and $18$.", r"\boxed{\{7,18,14\}}"]),
    ("(3,0),(-3,1)", [r"\boxed{(-3,1), (3,0)}", r"\boxed{(3,0)} and \boxed{(-3,1)}"]),
    (r"64,\frac{1}{4}", [r"\boxed{0.25, 64}", r"\boxed{\frac14 \text{ or } 64}"]),
    ("90^{\\circ},60^{\\circ}", [r"\boxed{60^\circ, 90^\circ}", r"\boxed{60, 90}"]),
]


def test_lists_of_answers_are_sets(verifier):
    cases = [(text, gold) for gold, texts in LISTS for text in texts]
    wrong = [(r"\boxed{221}", "221,8"), (r"\boxed{221,8,1}", "221,8"), (r"\boxed{7,14}", "7,4")]
    verdicts = verifier.verify(*map(list, zip(*cases, *wrong, strict=True)))
    found = [verdict.outcome is Outcome.CORRECT for verdict in verdicts]
    assert found == [True] * len(cases) + [False] * len(wrong)


def test_rules_of_rows_become_rules_of_problems(tmp_path):
    row = {"problem": "p", "answer": "4.2"}
    rows = [
        row | {"error": "1e-1", "unit": "%"},
        row | {"error": None, "unit": ""},
        row | {"relative": 0.01},
        row | {"absolute": 2, "error": None},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    golds = [as_gold(problem.answer) for problem in load_problems(str(path))]
    assert golds == [
        Gold("4.2", absolute=0.1, unit="%"),
        "4.2",
        Gold("4.2", relative=0.01),
        Gold("4.2", absolute=2.0),
    ]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"error": "much"}, "error must be a positive number, not 'much'"),
        ({"absolute": -1}, "absolute must be a positive number, not -1"),
        ({"relative": True}, "relative must be a positive number, not True"),
        ({"relative": "inf"}, "relative must be a positive number, not 'inf'"),
        ({"error": [0.1]}, r"error must be a positive number, not \[0.1\]"),
        ({"unit": 3}, "unit must be a text, not 3"),
    ],
)
def test_a_rule_without_meaning_is_refused_with_its_row(tmp_path, rule, said):
    path = tmp_path / "rows.jsonl"
    rows = [{"problem": "p", "answer": "1"}, {"problem": "p", "answer": "1", **rule}]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match=f"row 1: the {said}"):
        load_problems(str(path))


def test_training_judges_by_the_same_rules(verifier):
    prompt = ({"role": "user", "content": "?"},)
    plain = Problem(id="a", prompt=prompt, answer="4.2")
    ruled = Problem(id="b", prompt=prompt, answer={"answer": "4.2", "absolute": 0.1, "unit": "%"})
    texts = [r"\boxed{4.3}", r"\boxed{4.3\%}"]
    rows = rows_of([plain, ruled])
    rewards = RewardSet([MathReward(verifier)], [MathSpec()])
    (reward,) = reward_functions(rewards, [plain, ruled])
    assert reward(completions=texts, problem=[row["problem"] for row in rows]) == [0.0, 1.0]
    evaluated = rewards.verdicts(texts, [plain, ruled])
    assert [verdict.outcome for verdict in evaluated] == [Outcome.WRONG, Outcome.CORRECT]
    columns = {"answer": ["4.2", "4.2"], "absolute": [None, 0.1], "unit": [None, "%"]}
    assert MathReward(verifier)(completions=texts, **columns) == [0.0, 1.0]


def text_of_gold(problem):
    gold = as_gold(problem.answer)
    return gold if isinstance(gold, str) else gold.answer


STYLES = {
    "boxed": r"\boxed{@}",
    "dollars": "$@$",
    "sentence": "The answer is $@$.",
    "bare": "@",
}


def test_reference_answers_of_seven_benchmarks_are_accepted_from_themselves(verifier, shared):
    benchmarks = load_benchmarks(list(BENCHMARKS), data=shared / "data").values()
    cases = [(one, style) for problems in benchmarks for one in problems for style in STYLES]
    assert len(cases) == 2866 * 4
    texts = [STYLES[style].replace("@", text_of_gold(problem)) for problem, style in cases]
    verdicts = verifier.verify(texts, [as_gold(problem.answer) for problem, _ in cases])
    missed = {
        (problem.id, style)
        for (problem, style), verdict in zip(cases, verdicts, strict=True)
        if verdict.outcome is not Outcome.CORRECT
    }
    assert missed == set(REMAINDER)
