"""Whether an answer equals a reference answer: the layer's rules first, then math-verify."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from math_verify import verify
from sympy import (
    And,
    Eq,
    Expr,
    FiniteSet,
    Float,
    Interval,
    MatrixBase,
    Ne,
    Or,
    Rational,
    S,
    Set,
    Tuple,
    pi,
)
from sympy.core.relational import Relational

from maspo.rewards.layer.apart import apart, same_equation
from maspo.rewards.layer.reading import Reading, parse_latex, read_answer, split
from maspo.rewards.layer.units import Unit, read_unit
from maspo.rewards.layer.values import HUNDRED, close, number, slack, unwrapped
from maspo.rewards.reading import read
from maspo.rewards.verdict import Gold

_POINTS = (
    Rational(37, 100),
    Rational(19, 10),
    Rational(-23, 10),
    Rational(5, 7),
    Rational(71, 10),
    Rational(-13, 17),
    Rational(211, 100),
)


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
    return _values(answer, gold, rule, units)


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
        solutions = _solutions(answer, gold)
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
    solutions = _solutions(answer, gold)
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
    wanted: Unit | None = gold.measured[1]
    text = gold.text
    if rule.unit and rule.unit.strip(" $"):
        wanted, text = (
            read_unit(rule.unit.strip(" ")) or read_unit(rule.unit.strip(" $")),
            rule.unit,
        )
    given = answer.measured[1]
    if given is None or wanted is None:
        return Fraction(1)
    if given.dimensions != wanted.dimensions:
        return None if text else Fraction(1)
    return given.size / wanted.size


def _angles(answer: Reading, gold: Reading) -> bool:
    """Whether one is in degrees and the other an exact multiple of pi."""
    degree = read_unit("degree")
    in_degrees = [one.measured[1] == degree for one in (answer, gold)]
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


def _values(answer: Reading, gold: Reading, rule: Gold, units: Fraction) -> bool:
    right = unwrapped(gold.value)
    left = answer.value
    if number(right) is not None and number(unwrapped(left)) is None:
        left = answer.number
    plain = unwrapped(left)
    one, two = number(plain), number(right)
    ruled = rule.relative is not None or rule.absolute is not None or units != 1
    if one is not None and two is not None and (ruled or "values" in gold.rules):
        return _numbers_equal(one, two, plain, right, rule, units, gold)
    if "intervals" in gold.rules and (found := _solutions(answer, gold)) is not None:
        return found
    if left is None or gold.value is None:
        return _by_text(answer, gold) or ("whole" not in gold.rules and _in_part(answer, gold))
    if "letters" in gold.rules and _case_differs(answer, gold):
        return False
    if "lists" in gold.rules and (found := _components(answer, gold, rule)) is not None:
        return found
    if (
        isinstance(left, (FiniteSet, Tuple, MatrixBase))
        and type(left) is type(gold.value)
        and isinstance(left, FiniteSet)
    ) and (found := _finite_sets(left, gold.value, rule)) is not None:
        return found
    if isinstance(left, Interval) and isinstance(gold.value, Interval) and "values" in gold.rules:
        ends = (*left.args[:2], *gold.value.args[:2])
        if all(number(end) is not None for end in ends):
            return _same_interval(left, gold.value)
    if apart(plain, right):
        return False
    if (found := same_equation(left, gold.value)) is not None:
        return found
    if verify([gold.value], [left], timeout_seconds=None, raise_on_error=True):
        return True
    if rule.relative is not None or rule.absolute is not None:
        return False
    return "domains" in gold.rules and _agree(plain, right)


def _finite_sets(left: FiniteSet, right: FiniteSet, rule: Gold) -> bool | None:
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


def _numbers_equal(
    one: Any, two: Any, left: Any, right: Any, rule: Gold, units: Fraction, gold: Reading
) -> bool:
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


def _in_part(answer: Reading, gold: Reading) -> bool:
    """Compare what math-verify finds inside of what does not parse."""
    golds, answers = (read(rf"\boxed{{{one.text}}}") for one in (gold, answer))
    return verify(golds, answers, timeout_seconds=None)


def _by_text(answer: Reading, gold: Reading) -> bool:
    """Compare what does not parse, to the letter; the name in `y = ...` may be left out."""
    left, right = answer.letters, gold.letters
    names = re.compile(r"\A\w(?:_\w+)?(?:\(\w\))?=")
    return bool(left) and (left == right or names.sub("", left) == names.sub("", right))


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


def _case_differs(answer: Reading, gold: Reading) -> bool:
    left, right = _symbols(answer), _symbols(gold)
    if left == right or gold.is_words:
        return False
    return {s.lower() for s in left} == {s.lower() for s in right}


def _components(answer: Reading, gold: Reading, rule: Gold) -> bool | None:
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


_MEMBER = re.compile(r"\A\s*[a-zA-Z]\s*\\in(?![a-zA-Z])\s*")


_BUILDER = re.compile(
    r"\A\s*(?:\\left)?\s*\\?\{\s*[a-zA-Z]\s*(?:\\in\s*\\mathbb\s*\{R\}\s*)?(?:\\mid|:|\||\\colon)(.*?)(?:\\right)?\\?\}\s*\Z"
)


def _solutions(answer: Reading, gold: Reading) -> bool | None:
    """Compare an inequality with a set by its solutions; None where this is not what they are."""
    if "intervals" not in gold.rules:
        return None
    wanted = _as_set(gold.text)
    if wanted is None or isinstance(wanted, FiniteSet):
        return None
    if not re.search(
        r"[<>]|\\(?:le|ge|ne|leq|geq|neq|lt|gt|leqslant|geqslant)(?![a-zA-Z])",
        answer.text + gold.text,
    ):
        return None
    found = _as_set(answer.text)
    if found is None:
        return None
    if isinstance(found, Interval) and isinstance(wanted, Interval):
        return _same_interval(found, wanted)
    try:
        return found == wanted or bool(found.symmetric_difference(wanted).is_empty)
    except Exception:
        return None


def _same_interval(left: Interval, right: Interval) -> bool:
    same = all(
        a == b
        or (
            number(a) is not None
            and number(b) is not None
            and close(number(a), number(b), slack(a, number(b)))
        )
        for a, b in ((left.start, right.start), (left.end, right.end))
    )
    return same and left.left_open == right.left_open and left.right_open == right.right_open


def _as_set(text: str) -> Any:
    """Read a set of numbers, or the solutions of inequalities in one letter."""
    text = _BUILDER.sub(r"\1", _MEMBER.sub("", text))
    united = re.split(
        r"\\text\s*\{\s*or\s*\}|(?<![a-zA-Z\\])or(?![a-zA-Z])|\\(?:lor|vee)(?![a-zA-Z])", text
    )
    whole: Any = S.EmptySet
    letters = set()
    for part in united:
        joined: Any = S.Reals
        either: Any = S.EmptySet
        for piece in split(
            re.sub(
                r"\\text\s*\{\s*and\s*\}|(?<![a-zA-Z\\])and(?![a-zA-Z])|\\(?:land|wedge)(?![a-zA-Z])",
                ",",
                part,
            ),
            ",;",
        ):
            if not piece.strip():
                continue
            value = parse_latex(_MEMBER.sub("", piece))
            if isinstance(value, (Relational, And, Or, Ne)) and not isinstance(value, Eq):
                letters |= set(map(str, value.free_symbols))
                try:
                    value = value.as_set() if len(value.free_symbols) == 1 else None
                except Exception:
                    value = None
            if isinstance(value, Interval):
                value = Interval(
                    value.start, value.end, bool(value.left_open), bool(value.right_open)
                )
            if not isinstance(value, Set) or (isinstance(value, FiniteSet) and len(united) == 1):
                return None
            joined, either = joined.intersect(value), either.union(value)
        # `x < -1, x > 1` can only mean either
        whole = whole.union(either if joined is S.EmptySet else joined)
    return whole if len(letters) <= 1 else None


def _agree(left: Any, right: Any) -> bool:
    """Whether two expressions agree, to many digits, wherever both are real; at four points at least."""
    if not (isinstance(left, Expr) and isinstance(right, Expr)):
        return False
    names = set(map(str, left.free_symbols))
    if not names or names != set(map(str, right.free_symbols)) or len(names) > 4:
        return False
    compared = 0
    for shift in range(len(_POINTS)):
        chosen = {
            name: _POINTS[(shift + 3 * i) % len(_POINTS)] for i, name in enumerate(sorted(names))
        }
        try:
            one, two = (
                side.subs({symbol: chosen[str(symbol)] for symbol in side.free_symbols}).evalf(30)
                for side in (left, right)
            )
        except Exception:
            return False
        if not (one.is_Float and two.is_Float):
            continue
        if abs(one - two) > Float("1e-20") * max(1, abs(one)):
            return False
        compared += 1
    return compared >= 4


def judge(answer: str, gold: Reading, rule: Gold) -> bool:
    """Judge a located answer against the reading of its reference answer."""
    return equal(read_answer(answer, gold.rules), gold, rule)
