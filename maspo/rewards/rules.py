r"""The rules of OlympiadBench and Minerva: tolerances, units, numbers written like 4.5e33.

math-verify alone cannot judge these: it reads `4.5e33` with Euler's number, and calls 2.9e-19 and
5e-19 equal because both round to 0. Between two numbers the tolerance therefore decides alone.
"""

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeGuard

from maspo.rewards.verdict import Gold

_EXPONENT = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?[eE][+-]?\d{1,2})(?!\w|\.\d)")
_PYTHON = ((re.compile(r"\bnp\.(?=[a-z])"), "\\\\"), (re.compile(r"(?<=\d)\.(?=[/*])"), ""))
_APPROXIMATELY = re.compile(r"\\(?:approx|simeq)(?![a-zA-Z])|≈")
_SPACE = r"\s|~|\\[,;:!\s]|\\q?quad(?![a-zA-Z])"
_UPRIGHT = r"\\(?:text|textrm|textup|mathrm|operatorname|mbox)\s*\{[^{}]*\}"
_SOLAR = r"[MLR]_\s*(?:\\odot(?![a-zA-Z])|\{\s*\\odot\s*\})"
_POWER = r"\^\s*(?:\d|\{\s*-?\d+\s*\})"
_DEGREE = r"\^\s*(?:\\circ|\{\s*\\circ\s*\})|°|\\degree(?![a-zA-Z])"
_FACTOR = rf"(?:{_UPRIGHT}|{_SOLAR})(?:\s*{_POWER})?"
_UNIT_BEHIND = re.compile(
    rf"(?<=[\d)}}])(?:{_SPACE})*(?:{_FACTOR}|{_DEGREE})"
    rf"(?:{_FACTOR}|{_DEGREE}|{_SPACE}|/|\\cdot(?![a-zA-Z]))*\Z"
)
_CURRENCY = re.compile(r"\A\s*(?:\\\$|[€£¥])\s*(?=[-\d.])")


def has_rules(gold: Gold) -> bool:
    """Whether anything but math-verify has a say."""
    return (gold.relative, gold.absolute, gold.unit) != (None, None, None)


def spell_out(text: str, gold: Gold) -> str:
    """Rewrite, anywhere in a text, what math-verify would misread: 4.5e33, and the gold's unit."""
    if _is_unit(gold.unit):
        text = _unit_pattern(gold.unit).sub("", text)
    if _has_tolerance(gold):
        text = _EXPONENT.sub(lambda found: format(Decimal(found[1]), "f"), text)
        for pattern, replacement in _PYTHON:
            text = pattern.sub(replacement, text)
    return text


def bare_number(answer: str, gold: Gold) -> str:
    """Rewrite an isolated answer: without currency and unit, `x = 3` for `x ≈ 3`."""
    answer = _CURRENCY.sub("", spell_out(answer, gold).strip(" $").rstrip(" .$"))
    answer = _UNIT_BEHIND.sub("", answer)
    return _APPROXIMATELY.sub("=", answer).lstrip("= ") if _has_tolerance(gold) else answer


def compare_with_tolerance(answer: Any, reference: Any, gold: Gold) -> bool | None:
    """Compare two parsed expressions by the gold's tolerance; None if it does not apply to them."""
    if not _has_tolerance(gold):
        return None
    left, right = _value(answer), _value(reference)
    if left is None or right is None:
        return None
    allowed = max(_exact(gold.relative) * abs(right), _exact(gold.absolute))
    return abs(left - right) <= allowed


def _has_tolerance(gold: Gold) -> bool:
    return gold.relative is not None or gold.absolute is not None


def _exact(tolerance: float | None) -> Fraction:
    return Fraction(repr(tolerance or 0))  # 0.1 is meant as a tenth, not as the nearest double


def _is_unit(unit: str | None) -> TypeGuard[str]:
    """Whether a gold's unit says anything: white space and dollars alone do not."""
    return unit is not None and bool(unit.strip(" $"))


def _unit_pattern(unit: str) -> re.Pattern[str]:
    """Match the unit behind a number, as a word, in `\\text{}` or `\\mathrm{}`, in the plural."""
    name = unit.strip(" $")
    name = name.removesuffix("s") or name  # "s" alone is the second
    if name in (r"\%", "%"):
        return re.compile(rf"(?<=[\d)}}$])(?:{_SPACE})*(?:\\?%|percent(?:age)?\b|pct\b)")
    if re.fullmatch(_DEGREE, name):
        return re.compile(rf"(?:{_SPACE})*(?:{_DEGREE}|degrees?\b)")
    body = re.sub(r"\\\^(?:\\\{)?(\d)(?:\\\})?", r"\\s*\\^\\s*(?:\1|\\{\1\\})", re.escape(name))
    spelt = rf"{body}s?(?![a-zA-Z])"
    return re.compile(
        rf"(?<=[\d)}}])(?:{_SPACE})*"
        rf"(?:\\(?:text|textrm|mathrm|mbox)\s*\{{(?:{_SPACE})*{spelt}\s*\}}|{spelt})"
    )


def _value(expression: Any) -> Fraction | None:
    """Read a parsed expression as a real number, `x = 3` as 3; percentages are math-verify's."""
    from sympy import Eq, Expr, FiniteSet, UnevaluatedExpr

    if isinstance(expression, Eq) and expression.lhs.is_Symbol:
        expression = expression.rhs
    if isinstance(expression, FiniteSet) and len(expression) == 1:
        [expression] = expression.args
    if not isinstance(expression, Expr) or expression.has(UnevaluatedExpr):
        return None
    if not expression.is_number:
        return None
    value: Any = expression.evalf()  # to 15 digits, so that 4.1 is 41/10 again
    return Fraction(str(value)) if value.is_Float or value.is_Rational else None
