"""Quick ways of the verifier against the slow ones they stand for: the same verdicts."""

import json
import random
import re

import pytest
from judgements import JUDGEMENTS
from math_verify import parser
from sympy import Eq, Symbol, sqrt, srepr

from maspo.rewards import Gold, reading
from maspo.rewards.extract import compare_numbers
from maspo.rewards.layer import latex, value_equality
from maspo.rewards.layer.expressions import apart, same_equation
from maspo.rewards.layer.locate import find_answer
from maspo.rewards.layer.rules import RULES
from maspo.rewards.verdict import Job
from maspo.rewards.worker import _read_gold, check_answer

pytestmark = pytest.mark.filterwarnings("ignore")  # sympy's, inside math-verify
ALL = frozenset(RULES)
PARSE = parser.parse_latex_cached.__wrapped__
"""math-verify's own, which keeps nothing."""
x, y = Symbol("x", real=True), Symbol("y", real=True)


@pytest.fixture(scope="module", autouse=True)
def quick_parser():
    """Patch math-verify as a worker does, and undo it: the other tests of this process need it plain."""
    kept = parser.latex2sympy, parser.parse_latex_cached
    reading.patch_math_verify.cache_clear()
    reading.patch_math_verify()
    yield
    parser.latex2sympy, parser.parse_latex_cached = kept
    reading.patch_math_verify.cache_clear()
    latex.parse_latex.cache_clear()


def verdicts(cases):
    latex.parse_latex.cache_clear()
    _read_gold.cache_clear()
    found = []
    for text, gold in cases:
        cut = find_answer(text, ALL)
        job = Job(text if cut is None else cut, gold, cut is not None)
        found.append(check_answer(job, ALL))
    return found


def slowly(monkeypatch, cases):
    """Judge by ANTLR's full prediction for everything, and by math-verify for every expression."""
    with monkeypatch.context() as patch:
        patch.setattr(reading, "_plain_number", lambda latex: None)
        patch.setattr(reading, "_RAISED", re.compile(r"(?!)()"))
        patch.setattr(value_equality, "apart", lambda left, right: False)
        patch.setattr(value_equality, "same_equation", lambda left, right: None)
        patch.setattr(parser, "parse_latex_cached", PARSE)
        return verdicts(cases)


def assert_same(monkeypatch, cases):
    quick, slow = verdicts(cases), slowly(monkeypatch, cases)
    differ = [
        (case, one, two)
        for case, one, two in zip(cases, quick, slow, strict=True)
        if one.outcome is not two.outcome
    ]
    # what is a multiple of an equation of higher degree is seen by the quick way alone
    assert [one for one in differ if one[0][0] != r"\boxed{2x^2 - 8 = 0}"] == []


def test_written_judgements_end_alike(monkeypatch):
    kinds = [*JUDGEMENTS.values()]
    cases = [case for kind in kinds for case in (*kind.right, *kind.wrong)][::3]
    assert_same(monkeypatch, [(t, Gold(a, **(r[0] if r else {}))) for t, a, *r in cases])


def test_judgements_of_public_reports_end_alike(monkeypatch, shared):
    lines = (shared / "cases" / "verifier.jsonl").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if not row["kind"].startswith("hostile")]
    assert_same(monkeypatch, [(r["completion"], Gold(r["gold"], **r["rules"])) for r in rows[::4]])


def test_random_pairs_of_reference_answers_end_alike(monkeypatch, shared):
    draw, golds = random.Random(0), []
    for name in ("math500", "olympiadbench", "math_train"):
        lines = (shared / "data" / f"{name}.jsonl").read_text("utf-8").split("\n")
        golds += [json.loads(line)["answer"] for line in lines if line]
    golds = [gold for gold in golds if compare_numbers(gold, "0") is None]
    changes = (
        lambda gold: re.sub(r"\d", lambda found: str(draw.randrange(10)), gold, count=1),
        lambda gold: gold.replace("+", "-", 1),
        lambda gold: gold.replace(r"\frac", r"\dfrac").replace(" ", ""),
        lambda gold: draw.choice(golds),
    )
    drawn = draw.sample(golds, 120)
    pairs = [(rf"\boxed{{{draw.choice(changes)(gold)}}}", Gold(gold)) for gold in drawn]
    assert_same(monkeypatch, pairs)


def test_numbers_compared_without_a_worker_end_as_in_one():
    draw = random.Random(0)

    def number():
        top, bottom = draw.randrange(-30, 30), draw.randrange(1, 12)
        spellings = str(top), f"{top / 4}", f"{top}/{bottom}", rf"\frac{{{abs(top)}}}{{{bottom}}}"
        return draw.choice(spellings)

    for _ in range(150):
        answer, gold = number(), number()
        equal = compare_numbers(answer, gold)
        if equal is not None:
            [found] = verdicts([(rf"\boxed{{{answer}}}", Gold(gold))])
            assert found.correct is equal, (answer, gold)


NUMBERS = (
    "0",
    "-0",
    "007",
    "-3",
    "0.50",
    "3." + "14159" * 8,
    "1" * 60,
    r"\frac{6}{4}",
    r"-\frac{4}{2}",
)


@pytest.mark.parametrize("text", NUMBERS)
def test_a_plain_number_is_what_latex2sympy_reads(text):
    read = reading.latex2sympy2._Latex2Sympy(None, True, False).parse(text)
    assert srepr(reading._plain_number(text)) == srepr(read)


def test_expressions_are_apart_where_they_differ_at_a_point_and_only_then():
    assert apart(x**2 + 1, x**2 + 2) and apart(2 * x, 2 * y) and apart(x + 1, x * 0 + 255)
    assert not apart((x + 1) ** 2, x**2 + 2 * x + 1) and not apart(sqrt(x**2), x)
    assert not apart(x, y)  # `abc` may be one letter or three
    assert not apart(x / 10**9, x / 10**8)  # too near for a float


def test_equations_are_the_same_where_one_is_a_multiple_of_the_other():
    assert same_equation(Eq(2 * x + 2 * y, 10), Eq(y, 5 - x)) is True
    assert same_equation(Eq(2 * x**2, 8), Eq(x**2, 4)) is True
    assert same_equation(Eq(x + y, 5), Eq(x + y, 6)) is False
    assert same_equation(Eq(x, 5), Eq(y, 5)) is None  # names are math-verify's
    assert same_equation(Eq(x**2, 4), Eq(x**2, 9)) is None
    assert same_equation(Eq(x**2, 0), Eq(x, 0)) is None  # the same solutions, yet no multiples
