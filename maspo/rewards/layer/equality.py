"""Whether an answer equals a reference answer: as words, choice, numeral, list, or by value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from sympy import Expr, Float, pi

from maspo.rewards.layer.reading import Reading, read_answer
from maspo.rewards.layer.solutions import same_solutions
from maspo.rewards.layer.units import Unit, read_unit
from maspo.rewards.layer.value_equality import equal_in_value
from maspo.rewards.layer.values import close, number, slack, unwrapped
from maspo.rewards.verdict import Gold


def judge(answer: str, gold: Reading, rule: Gold) -> bool:
    """Judge a located answer against the reading of its reference answer."""
    return equal(read_answer(answer, gold.rules), gold, rule)


def equal(answer: Reading, gold: Reading, rule: Gold) -> bool:
    """Whether two readings say the same, by the gold's tolerance and unit."""
    rules = gold.rules
    if answer.letters == gold.letters and answer.letters:
        return True
    if "words" in rules and answer.qualifiers != gold.qualifiers:
        return False
    if "lists" in rules and (answer.dotted or gold.dotted):
        return False
    if (gold.colon or answer.colon) and (
        (gold.colon is None) != (answer.colon is None)
        or re.search(r"[ap]m", (gold.colon or "") + (answer.colon or ""))
    ):
        return gold.colon == answer.colon
    if "choices" in rules and gold.is_choice and answer.choice is not None:
        return answer.choice == gold.choice
    if gold.is_words and answer.is_words and answer.letters.lower() == gold.letters.lower():
        return True
    if "bases" in rules and (answer.base[1] or gold.base[1]):
        (digits, base), (wanted, asked) = answer.base, gold.base
        return digits == wanted and (base is None or asked is None or base == asked)
    if "chains" in rules and _broken(answer):
        return False
    if answer.name and gold.name and answer.name != gold.name:
        return False
    if answer.elements or gold.elements:
        found = _lists(answer, gold, rule)
        if found is not None:
            return found
    if "lists" in rules and _brackets_differ(answer, gold):
        return False
    units = _factor(answer, gold, rule) if "units" in rules else Fraction(1)
    if units is None:
        return False
    if "degrees" in rules and _angles(answer, gold):
        return True
    return equal_in_value(answer, gold, rule, units)


def _lists(answer: Reading, gold: Reading, rule: Gold) -> bool | None:
    """Compare lists without order; None where only one is a list and the other may be one in brackets."""
    left, right = answer.elements, gold.elements
    if right and not left and (inside := answer.bracketed) and inside[0] == "{":
        left = inside[1]
    if left and not right and (inside := gold.bracketed) and inside[0] == "{":
        right = inside[1]
    if left and right:
        if len(left) == len(right) and _matched(left, right, rule):
            return True
        solutions = same_solutions(answer, gold)
        if solutions is not None:
            return solutions
        if any("pm" in one.text for one in (*left, *right)):
            return None
        return (
            False
            if all(one.value is not None for one in (*left, *right)) and not _tuples(answer, gold)
            else None
        )
    if left and len(left) == 1:
        return equal(left[0], gold, rule)
    solutions = same_solutions(answer, gold)
    if solutions is not None:
        return solutions
    if left and isinstance(gold.value, Expr) and gold.value.is_number:
        return False
    if right and answer.is_words and all(one.is_words for one in right):
        return False
    return None


def _matched(left: Sequence[Reading], right: Sequence[Reading], rule: Gold) -> bool:
    rest = list(right)
    for one in left:
        place = next((i for i, other in enumerate(rest) if equal(one, other, rule)), None)
        if place is None:
            return False
        del rest[place]
    return True


def _tuples(answer: Reading, gold: Reading) -> bool:
    return answer.bracketed is not None or gold.bracketed is not None


def _broken(answer: Reading) -> bool:
    """Whether a chain of equalities holds two unequal numbers."""
    if "=" not in answer.text or answer.elements:
        return False
    links = [link for link in re.split(r"(?<![<>!\\])=", answer.text) if link.strip()]
    if len(links) < 2 or any(
        re.search(r"\\(?:ne|le|ge|neq|leq|geq|in)(?![a-zA-Z])|[<>]", link) for link in links
    ):
        return False
    numbers = [
        n for n in (number(Reading(link, answer.rules).number) for link in links) if n is not None
    ]
    return any(not close(number, numbers[0], slack(number, numbers[0])) for number in numbers[1:])


def _brackets_differ(answer: Reading, gold: Reading) -> bool:
    left, right = answer.bracketed, gold.bracketed
    if left is None or right is None:
        return False
    return {left[0], right[0]} == {"{", "("} and len(left[1]) > 1 and len(right[1]) > 1


def _factor(answer: Reading, gold: Reading, rule: Gold) -> Fraction | None:
    """How many of the gold's units one of the answer's is; None where they measure different things."""
    wanted: Unit | None = gold.quantity.unit
    text = gold.text
    if rule.unit and rule.unit.strip(" $"):
        wanted, text = (
            read_unit(rule.unit.strip(" ")) or read_unit(rule.unit.strip(" $")),
            rule.unit,
        )
    given = answer.quantity.unit
    if given is None or wanted is None:
        return Fraction(1)
    if given.dimensions != wanted.dimensions:
        return None if text else Fraction(1)
    return given.size / wanted.size


def _angles(answer: Reading, gold: Reading) -> bool:
    """Whether one is in degrees and the other an exact multiple of pi."""
    degree = read_unit("degree")
    in_degrees = [one.quantity.unit == degree for one in (answer, gold)]
    if in_degrees[0] == in_degrees[1]:
        return False
    degrees, radians = (answer, gold) if in_degrees[0] else (gold, answer)
    value, angle = unwrapped(degrees.value), unwrapped(radians.value)
    if (
        not isinstance(value, Expr)
        or not isinstance(angle, Expr)
        or not angle.has(pi)
        or angle.has(Float)
    ):
        return False
    left, right = number(value * pi / 180), number(angle)
    return left is not None and right is not None and close(left, right, Fraction(0))
