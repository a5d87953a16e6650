"""Expressions and equations compared without simplifying them: by values at points, and by coefficients."""

from __future__ import annotations

from typing import Any, cast

from sympy import (
    Eq,
    Expr,
    Float,
    Integral,
    Interval,
    Limit,
    Poly,
    Pow,
    Product,
    Rational,
    Sum,
    Symbol,
    Tuple,
    UnevaluatedExpr,
    Union,
    factorial,
)
from sympy.core.function import AppliedUndef
from sympy.polys.polyerrors import BasePolynomialError

_COORDINATES = (Rational(37, 100), Rational(19, 10), Rational(5, 7), Rational(71, 10))
_POINTS = (
    Rational(37, 100),
    Rational(19, 10),
    Rational(-23, 10),
    Rational(5, 7),
    Rational(71, 10),
    Rational(-13, 17),
    Rational(211, 100),
)
_SLOW = (UnevaluatedExpr, Sum, Product, Integral, Limit, AppliedUndef, factorial)
_FAR = Float("1e-6")
_HIGHEST = 12  # exponents: with more, taking a polynomial apart may take long


def apart(left: Any, right: Any) -> bool:
    """Whether two expressions surely differ: both are real at a point, and not close there.

    False says nothing. Coordinates are positive, so that `\\sqrt{x^2}` and `x` are left to others.
    """
    kinds = [isinstance(one, Expr) and not one.free_symbols for one in (left, right)]
    several = [isinstance(one, (Interval, Union, Tuple)) for one in (left, right)]
    if (kinds[0] and several[1]) or (kinds[1] and several[0]):
        return True
    if not (isinstance(left, Expr) and isinstance(right, Expr)):
        return False
    if isinstance(left, Symbol) or isinstance(right, Symbol) or left.has(*_SLOW):
        return False
    symbols = left.free_symbols | right.free_symbols
    names = sorted({str(symbol) for symbol in symbols})
    if not names or len(names) > len(_COORDINATES) or right.has(*_SLOW):
        return False
    values = dict(zip(names, _COORDINATES, strict=False))
    point: dict[Any, Any] = {symbol: values[str(symbol)] for symbol in symbols}
    try:
        one, two = (side.evalf(20, subs=point) for side in (left, right))
        if not (one.is_Float or one.is_Rational) or not (two.is_Float or two.is_Rational):
            return False
        return bool(abs(one - two) > _FAR * max(1, abs(one), abs(two)))
    except Exception:
        return False


def agree(left: Any, right: Any) -> bool:
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


def same_equation(left: Any, right: Any) -> bool | None:
    """Whether one equation is a multiple of the other; None where that does not decide.

    Two equations of first degree have the same solutions where they are multiples alone; others may
    have them too where they are not.
    """
    if not (isinstance(left, Eq) and isinstance(right, Eq)):
        return None
    if not all(isinstance(side, Expr) for one in (left, right) for side in one.args):
        return None  # `x \in [0, 1]` is an equation to math-verify
    sides: list[Any] = [cast(Any, one.lhs) - one.rhs for one in (left, right)]
    if any(side.has(Float, *_SLOW) or _steep(side) for side in sides):
        return None
    named = [{str(symbol): symbol for symbol in side.free_symbols} for side in sides]
    names = sorted(named[0])
    if not names or names != sorted(named[1]):
        return None
    try:
        first, second = (
            Poly(side, *(found[name] for name in names))
            for side, found in zip(sides, named, strict=True)
        )
    except BasePolynomialError:
        return None
    if first.free_symbols_in_domain or second.free_symbols_in_domain:
        return None
    coefficients: list[dict[Any, Any]] = [first.as_dict(), second.as_dict()]
    one, two = coefficients
    if not all(value.is_Rational for value in (*one.values(), *two.values())):
        return None
    multiple = (
        set(one) == set(two) and len({value / two[power] for power, value in one.items()}) == 1
    )
    if multiple:
        return True
    linear = first.total_degree() == second.total_degree() == 1
    return False if linear else None


def _steep(expression: Expr) -> bool:
    return any(one.exp.is_Integer and abs(one.exp) > _HIGHEST for one in expression.atoms(Pow))
