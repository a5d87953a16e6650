r"""Units behind a number: `10 m/s`, `166 \text{ cm}^2`, `45 square miles per hour`."""

import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

from maspo.rewards.layer.vocabulary import DERIVED, UNITS

_TOKEN = re.compile(r"\^\{?(-?\d)\}?|[A-Za-zµμ$%]+|/|[²³]")
_GROUP = re.compile(
    r"\\(?:text|textrm|textup|textbf|mathrm|mathbf|mbox|operatorname|rm)\s*\{([^{}]*)\}"
)
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")


@dataclass(frozen=True)
class Unit:
    """A known unit: the powers of its dimensions, and its size in their base units."""

    dimensions: tuple[tuple[str, int], ...]
    size: Fraction


def read_unit(text: str) -> Unit | None:
    """Read the text of a unit; None where a word of it is not known."""
    plain = _GROUP.sub(r" \1 ", text)
    plain = _FRACTION.sub(r" \1 / \2 ", _GROUP.sub(r" \1 ", plain))
    plain = plain.replace(r"\$", "$").replace("²", "^2").replace("³", "^3").replace(r"\cdot", " ")
    plain = re.sub(r"\^\s*\{?\s*\\circ\s*\}?|\\degree|°", " degree ", plain)
    plain = re.sub(r"[~\\,;:!.*{}()]", lambda m: m[0] if m[0] in "{}" else " ", plain)
    plain = re.sub(r"\s*\^\s*", "^", plain)
    if re.search(r"\d", re.sub(r"\^\{?-?\d\}?", "", plain)):
        return None
    dimensions: Counter[str] = Counter()
    size, sign, power, known = Fraction(1), 1, 1, False
    last: tuple[dict[str, int], Fraction] | None = None
    for token in _TOKEN.finditer(plain):
        word = token[0]
        if token[1] is not None or word in ("squared", "cubed"):
            exponent = int(token[1]) if token[1] is not None else {"squared": 2, "cubed": 3}[word]
            if last is None or abs(exponent) > 9:
                return None
            for name, times in last[0].items():
                dimensions[name] += sign * times * (exponent - 1)
            size *= last[1] ** (sign * (exponent - 1))
            continue
        if word in ("/", "per"):
            sign = -1
            continue
        if word in ("square", "sq", "cubic", "cu"):
            power = 2 if word.startswith("sq") else 3
            continue
        found = _lookup(word)
        if found is None:
            return None
        last = ({name: times * power for name, times in found[0].items()}, found[1] ** power)
        for name, times in last[0].items():
            dimensions[name] += sign * times
        size, power, known = size * last[1] ** sign, 1, True
    kept = tuple(sorted((name, times) for name, times in dimensions.items() if times))
    return Unit(kept, size) if known else None


def _lookup(word: str) -> tuple[dict[str, int], Fraction] | None:
    for name in (word, word.lower() if len(word) > 2 else word):
        if name in DERIVED:
            return DERIVED[name]
        if name in UNITS:
            dimension, size = UNITS[name]
            return {dimension: 1}, size
    return None
