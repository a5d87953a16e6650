"""Inequalities, intervals and sets of numbers, compared by the numbers that are in them."""

from __future__ import annotations

import re
from typing import Any

from sympy import And, Eq, FiniteSet, Interval, Ne, Or, S, Set
from sympy.core.relational import Relational

from maspo.rewards.layer.latex import parse_latex, split
from maspo.rewards.layer.reading import Reading
from maspo.rewards.layer.values import close, number, slack

_MEMBER = re.compile(r"\A\s*[a-zA-Z]\s*\\in(?![a-zA-Z])\s*")
_BUILDER = re.compile(
    r"\A\s*(?:\\left)?\s*\\?\{\s*[a-zA-Z]\s*(?:\\in\s*\\mathbb\s*\{R\}\s*)?(?:\\mid|:|\||\\colon)(.*?)(?:\\right)?\\?\}\s*\Z"
)


def same_solutions(answer: Reading, gold: Reading) -> bool | None:
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
        return same_interval(found, wanted)
    try:
        return found == wanted or bool(found.symmetric_difference(wanted).is_empty)
    except Exception:
        return None


def same_interval(left: Interval, right: Interval) -> bool:
    """Whether ends and brackets are the same, decimals to six places."""
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
