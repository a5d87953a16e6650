"""Whether an answer has the value of a reference answer: by the layer's rules first, then math-verify."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from math_verify import verify
from sympy import FiniteSet, Float, Interval, MatrixBase, Rational

from maspo.rewards.layer.expressions import agree, apart, same_equation
from maspo.rewards.layer.reading import Reading
from maspo.rewards.layer.solutions import same_interval, same_solutions
from maspo.rewards.layer.values import HUNDRED, close, number, slack, unwrapped
from maspo.rewards.reading import read
from maspo.rewards.verdict import Gold


def equal_in_value(answer: Reading, gold: Reading, rule: Gold, units: Fraction) -> bool:
    """Whether two readings have the same value, where the unit of the answer is `units` of the gold's."""
    right = unwrapped(gold.value)
    left = answer.value
    if number(right) is not None and number(unwrapped(left)) is None:
        left = answer.number
    plain = unwrapped(left)
    one, two = number(plain), number(right)
    ruled = rule.relative is not None or rule.absolute is not None or units != 1
    if one is not None and two is not None and (ruled or "values" in gold.rules):
        return _same_number(one, two, plain, right, rule, units)
    if "intervals" in gold.rules and (found := same_solutions(answer, gold)) is not None:
        return found
    if left is None or gold.value is None:
        return _same_text(answer, gold) or (
            "whole" not in gold.rules and _same_in_part(answer, gold)
        )
    if "letters" in gold.rules and _case_differs(answer, gold):
        return False
    if "lists" in gold.rules and (found := _same_components(answer, gold, rule)) is not None:
        return found
    if (
        isinstance(left, FiniteSet)
        and type(left) is type(gold.value)
        and (found := _same_finite_set(left, gold.value, rule)) is not None
    ):
        return found
    if isinstance(left, Interval) and isinstance(gold.value, Interval) and "values" in gold.rules:
        ends = (*left.args[:2], *gold.value.args[:2])
        if all(number(end) is not None for end in ends):
            return same_interval(left, gold.value)
    if apart(plain, right):
        return False
    if (found := same_equation(left, gold.value)) is not None:
        return found
    if verify([gold.value], [left], timeout_seconds=None, raise_on_error=True):
        return True
    if rule.relative is not None or rule.absolute is not None:
        return False
    return "domains" in gold.rules and agree(plain, right)


def _same_number(one: Any, two: Any, left: Any, right: Any, rule: Gold, units: Fraction) -> bool:
    """Compare two numbers, as `number` returns them, that were written as the expressions left and right."""
    tolerant = rule.relative is not None or rule.absolute is not None
    inexact = tolerant or left.has(Float) or right.has(Float)
    if units != 1:
        one, inexact = one * Rational(units.numerator, units.denominator), True
    allowed = slack(one, two, rule) if inexact else Fraction(0)
    if close(one, two, allowed):
        return True
    percent = [value.has(HUNDRED) for value in (left, right)]
    if rule.unit or percent[0] == percent[1]:
        return False
    # `50\%` may be meant for 0.5 and for 50
    return close(one * 100 if percent[0] else one, two * 100 if percent[1] else two, allowed)


def _same_finite_set(left: FiniteSet, right: FiniteSet, rule: Gold) -> bool | None:
    ones, twos = ([number(e) for e in side.args] for side in (left, right))
    if None in ones or None in twos:
        return None
    if len(ones) != len(twos):
        return False
    rest = list(twos)
    for one in ones:
        place = next(
            (i for i, two in enumerate(rest) if close(one, two, slack(one, two, rule))), None
        )
        if place is None:
            return False
        del rest[place]
    return True


def _same_components(answer: Reading, gold: Reading, rule: Gold) -> bool | None:
    """Compare a column with a tuple, and a named point with its coordinates."""
    sides = []
    for one in (answer, gold):
        if isinstance(one.value, MatrixBase) and one.value.shape[1] == 1:
            sides.append(("matrix", one.value.flat()))
            continue
        text = re.sub(r"\A[A-Z](?:_\w|')?\s*=?\s*(?=\\left\(|\()", "", one.text.strip())
        inside = Reading(text, one.rules).bracketed
        if inside is None or inside[0] + inside[2] not in ("()", "[]") or len(inside[1]) < 2:
            return None
        named = text != one.text.strip()
        sides.append(("named" if named else "tuple", [part.value for part in inside[1]]))
    kinds = {kind for kind, _ in sides}
    if kinds == {"tuple"} or kinds == {"matrix"} or None in (*sides[0][1], *sides[1][1]):
        return None
    if len(sides[0][1]) != len(sides[1][1]):
        return False
    return all(
        verify([b], [a], timeout_seconds=None)
        for a, b in zip(sides[0][1], sides[1][1], strict=True)
    )


def _same_text(answer: Reading, gold: Reading) -> bool:
    """Compare what does not parse, to the letter; the name in `y = ...` may be left out."""
    left, right = answer.letters, gold.letters
    names = re.compile(r"\A\w(?:_\w+)?(?:\(\w\))?=")
    return bool(left) and (left == right or names.sub("", left) == names.sub("", right))


def _same_in_part(answer: Reading, gold: Reading) -> bool:
    """Compare what math-verify finds inside of what does not parse."""
    golds, answers = (read(rf"\boxed{{{one.text}}}") for one in (gold, answer))
    return verify(golds, answers, timeout_seconds=None)


def _case_differs(answer: Reading, gold: Reading) -> bool:
    left, right = _symbols(answer), _symbols(gold)
    if left == right or gold.is_words:
        return False
    return {s.lower() for s in left} == {s.lower() for s in right}


def _symbols(reading: Reading) -> frozenset[str]:
    text = re.sub(
        r"\\(?:text|mathrm|mathbf|operatorname)\s*\{[^{}]*\}|\\[a-zA-Z]+", " ", reading.text
    )
    text = text.rpartition("=")[2]
    return frozenset(re.findall(r"(?<![a-zA-Z])[a-zA-Z](?![a-zA-Z])|(?<=\d)[a-zA-Z]", text)) - {
        "e",
        "E",
        "i",
        "I",
    }
