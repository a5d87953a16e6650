r"""A number with what stands around it: `about 5 cm`, `\$3 million`, `12 \text{ apples}`."""

# ruff: noqa: E501  (patterns)

from __future__ import annotations

import re
from math import prod
from typing import NamedTuple

from maspo.rewards.layer.latex import LATEX_SPACE, TEXT_COMMAND, TEXT_GROUP
from maspo.rewards.layer.units import Unit, read_unit
from maspo.rewards.layer.vocabulary import SCALES

_POWER = r"\s*\^\s*(?:\{\s*-?\d\s*\}|-?\d)"
_WORDY = rf"(?:{TEXT_COMMAND}\s*\{{[^{{}}\d]*(?:\^\{{?\d\}}?[^{{}}\d]*)?\}}|\\[dt]?frac\s*\{{\s*(?:{TEXT_COMMAND}\s*\{{[a-zA-Z ]+\}}|[a-zA-Z ]+)\s*\}}\s*\{{\s*(?:{TEXT_COMMAND}\s*\{{[a-zA-Z ]+\}}|[a-zA-Z ]+)\s*\}}|[a-zA-Zμ]+)"
_DEGREE = r"\^\s*(?:\\circ|\{\s*\\circ\s*\})|\\degree(?![a-zA-Z])"
_TAIL = re.compile(
    rf"(?:(?<=[\d)}}.\]])|(?<=\\pi)(?={LATEX_SPACE}*{TEXT_COMMAND}\s*\{{)){LATEX_SPACE}*(?P<tail>(?:{_WORDY}|\\\$|\\text\{{\\\$\}})(?:{_POWER})?(?:(?:{LATEX_SPACE}|/|\\cdot(?![a-zA-Z])|\*|\.)*(?:{_WORDY}|/)(?:{_POWER})?)*){LATEX_SPACE}*\.?\Z"
)
_SOLAR = re.compile(rf"(?<=\d){LATEX_SPACE}*[MLR]_\s*(?:\\odot|\{{\s*\\odot\s*\}})\s*\Z")
_DEGREES = re.compile(
    rf"{LATEX_SPACE}*(?:{_DEGREE}){LATEX_SPACE}*(?:[CF]|{TEXT_COMMAND}\s*\{{\s*[CF]\s*\}})?\Z"
)
_HEAD = re.compile(
    rf"\A{LATEX_SPACE}*(?:(?P<text>(?:{TEXT_COMMAND}\s*\{{[^{{}}\d]*\}}))|(?P<money>\\text\s*\{{\s*\\?\$\s*\}}|\\?\$|€|£|¥|₹|USD|EUR|GBP|US\\?\$|Rs\.?)(?={LATEX_SPACE}*-?[\d.\\]))"
)
_CURRENCY = {
    "€": "euro",
    "£": "GBP",
    "¥": "yen",
    "₹": "rupee",
    "USD": "dollar",
    "EUR": "euro",
    "GBP": "GBP",
    "R": "rupee",
}
_LEADING = frozenset({
    "the", "answer", "is", "are", "final", "about", "approximately", "approx", "roughly", "around", "exactly",
    "equals", "equal", "to", "value", "of", "it", "a", "an", "total", "so", "thus", "therefore", "hence", "i",
    "get", "we", "have", "result", "solution", "both", "either",
})  # fmt: skip


class Quantity(NamedTuple):
    """A text without unit, nouns and currency, and the unit."""

    text: str
    unit: Unit | None
    """None where there is none, or none that is known."""
    bare: bool
    """Whether what was taken for a unit is single letters, which may be factors of a formula."""


def read_quantity(text: str) -> Quantity:
    """Take unit, nouns and currency off an answer; `3 million` is multiplied out."""
    text, unit = _without_head(_SOLAR.sub("", text))
    degrees = _DEGREES.search(text)
    if degrees:
        return Quantity(text[: degrees.start()], read_unit("degree"), False)
    found = _TAIL.search(text)
    if found is None:
        return Quantity(text, unit, False)
    tail, number = found["tail"], text[: found.start()]
    words = [w.lower() for w in re.findall(r"[A-Za-z]+", TEXT_GROUP.sub(r" \1 ", tail))]
    scale = prod(_scale(word) for word in words)
    known = read_unit(re.sub(rf"\b(?:{'|'.join(SCALES)})s?\b", " ", tail))
    grouped = TEXT_GROUP.search(tail) is not None
    percent = re.search(r"percent|pct", tail)
    if percent or not (grouped or known or scale != 1 or _plain_nouns(tail)):
        return Quantity(text, unit, False)
    bare = not grouped and scale == 1 and all(len(w) < 2 for w in words) and "/" not in tail
    if scale != 1:
        number = rf"({number}) \times {scale}"
    return Quantity(number, known or unit, bare)


def _without_head(text: str) -> tuple[str, Unit | None]:
    """Take currency and words such as `the answer is` off the front; return the unit of the currency."""
    unit = None
    for _ in range(3):
        head = _HEAD.match(text)
        if head is None:
            break
        rest = text[head.end() :]
        if head["money"]:
            sign = re.sub(r"[\\${}\s]|text", "", head["money"])
            unit = read_unit(_CURRENCY.get(sign[:3] if len(sign) > 1 else sign, "dollar"))
            text = rest
            continue
        words = re.findall(r"[A-Za-z']+", TEXT_GROUP.sub(r"\1", head["text"]))
        if not rest.strip() or (not _only_lead(words) and not rest.strip(" =")):
            break
        text = rest.lstrip(" :=")
    plain = re.match(r"\s*((?:[A-Za-z]{2,}\s*[:=]?\s+)+)(?=-?[\d\\])", text)
    if plain and _only_lead(re.findall(r"[A-Za-z]+", plain[1])):
        text = text[plain.end() :]
    return text, unit


def _only_lead(words: list[str]) -> bool:
    return all(word.lower() in _LEADING for word in words)


def _scale(word: str) -> int:
    singular = word.removesuffix("s")
    return SCALES.get(singular if singular in SCALES else word, 1)


def _plain_nouns(tail: str) -> bool:
    words = re.findall(r"[A-Za-z]+", re.sub(r"\\[a-zA-Z]+", " ", tail))
    return (
        bool(words)
        and "\\" not in tail
        and all(len(w) > 1 for w in words)
        and any(len(w) > 2 for w in words)
        and not any(w.lower() in ("sin", "cos", "tan", "log", "exp", "mod", "and") for w in words)
    )
