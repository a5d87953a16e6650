"""Numbers among what math-verify parses: exact where they are, else to forty digits."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from math_verify.grader import is_assignment_relation, take_last_relation
from sympy import Eq, Expr, FiniteSet, Float, Rational, UnevaluatedExpr

from maspo.rewards.verdict import Gold

_CLOSE = Fraction(1, 10**6)  # decimals stand for what they round, to six places or digits
_DIGITS = Fraction(1, 10**35)  # what is left of the forty digits of an irrational number
HUNDRED = UnevaluatedExpr(Rational(1, 100))
"""How math-verify writes a percent sign: a factor that is not multiplied out."""


def unwrapped(value: Any) -> Any:
    """Read `x = 3` and `{3}` as 3."""
    if is_assignment_relation(value):
        value = take_last_relation(value).rhs
    elif isinstance(value, Eq) and value.rhs.is_Symbol:
        value = value.lhs
    if isinstance(value, FiniteSet) and len(value) == 1:
        [value] = value.args
    return value


def is_number(value: Any) -> bool:
    """Whether an expression is a number, exact or not."""
    return isinstance(value, Expr) and not value.free_symbols and bool(value.is_number)


def number(value: Any) -> Any:
    """Return a finite number as a Rational, or to 40 digits; None for anything else."""
    if not is_number(value):
        return None
    if value.is_Rational:
        return value
    exact = value.xreplace({HUNDRED: Rational(1, 100)})
    exact = exact.xreplace({f: Rational(str(f)) for f in exact.atoms(Float)})
    try:
        exact = exact.doit()
    except Exception:
        return None
    if exact.is_Rational:
        return exact
    try:
        found = exact.evalf(40)
        real, imaginary = found.as_real_imag()
    except Exception:
        return None
    if not (real.is_Float or real.is_Rational) or not (imaginary.is_Float or imaginary.is_Rational):
        return None
    if not (real.is_finite and imaginary.is_finite):
        return None
    return found


def slack(one: Any, two: Any, rule: Gold | None = None) -> Fraction:
    """How far apart two numbers may be; never for two that are exact."""
    if rule is not None and (rule.relative is not None or rule.absolute is not None):
        size = abs(fraction(two))
        return max(Fraction(repr(rule.relative or 0)) * size, Fraction(repr(rule.absolute or 0)))
    return _CLOSE * min(Fraction(1), max(abs(fraction(one)), abs(fraction(two))))


def fraction(value: Any) -> Fraction:
    """Return a real number, as `number` returns it, as a fraction; irrational ones without sign."""
    if value.is_Rational:
        return Fraction(int(value.p), int(value.q))
    return Fraction(str(abs(value).evalf(30)))


def close(one: Any, two: Any, slack: Fraction) -> bool:
    """Whether two numbers, as `number` returns them, are no further apart than `slack`."""
    if one.is_Rational and two.is_Rational:
        return abs(fraction(one) - fraction(two)) <= slack
    difference = fraction(abs(one - two))
    return difference <= max(slack, _DIGITS * max(fraction(abs(one)), fraction(abs(two))))
