r"""Which text is the gold answer: the box of a worked solution, its closing `#### x`, or a value."""

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from maspo.rewards.extract import closing_brace

PROSE_FROM = 5
"""Words of two or more letters that make a text prose. Of the 35,052 golds of AIME, AMC, MATH, Minerva,
OlympiadBench, GSM8K and DAPO-Math-17k one holds that many."""

_BOX = re.compile(r"\\boxed(?:\s*(?=\{)|\s+(?P<bare>[^$\n{]+?)\s*(?=\$|\\\)|\\\]|\n|\Z))")
_HASHES = re.compile(r"(?<!#)####(?!#)")
_CLOSING_HASHES = re.compile(r"^[ \t]*####(?!#)[ \t]*(?P<gold>\S[^\n]*?)\s*\Z", re.MULTILINE)
_THOUSANDS = re.compile(r"(?<![\d,.])\d{1,3}(?:,\d{2,3})*,\d{3}(?![\d,])")
_WORD = re.compile(r"[^\W\d_]{2,}")
_COMMAND = re.compile(r"\\[a-zA-Z]+")


def gold_of(value: Any) -> str | None:
    """Read the gold out of an answer of any type: a text, a number, or a mapping with `ground_truth`.

    A text that holds a JSON object with `ground_truth` counts as that mapping. Numbers are written
    without an exponent, which math-verify would read as Euler's number: 27.0 is "27". Returns None
    where there is no gold in it.
    """
    value = ground_truth(value)
    if isinstance(value, str):
        return gold_answer(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and math.isfinite(value):
        return _number_text(Decimal(repr(value)))
    if isinstance(value, int) or (isinstance(value, Decimal) and value.is_finite()):
        return _number_text(Decimal(value))
    return None


def ground_truth(value: Any) -> Any:
    """Take the `ground_truth` out of verl's `reward_model`, also where that became JSON text.

    Anything else is returned as it is; None for a text that looks like such JSON and cannot be parsed.
    """
    if isinstance(value, str) and value.lstrip().startswith("{") and "ground_truth" in value:
        try:
            value = parse_exact_json(value)
        except (ValueError, RecursionError):
            return None
    return value.get("ground_truth") if isinstance(value, Mapping) else value


def gold_answer(text: str) -> str | None:
    r"""Cut the gold out of an answer's text.

    The content of the last `\boxed{...}`; without a box what follows the `####` that begins the
    text's last line, without thousands separators, if it is no prose; without any `####` the whole
    text. Returns None where the last box is not closed, and where there is `####` but no answer
    behind it at the end of the text: a worked solution whose answer cannot be told.
    """
    boxes = list(_BOX.finditer(text))
    if boxes:
        return _content(text, boxes[-1]) or None
    if not _HASHES.search(text):
        return text.strip() or None
    closing = _CLOSING_HASHES.search(text)
    if closing is None or reads_as_prose(closing["gold"]):
        return None
    return without_thousands(closing["gold"])


def without_thousands(answer: str) -> str:
    """Drop the commas of numbers such as 1,234,567.5; those of a list, pair or interval stay."""
    if any(bracket in answer for bracket in "()[]{}"):
        return answer
    return _THOUSANDS.sub(lambda number: number[0].replace(",", ""), answer)


def reads_as_prose(text: str) -> bool:
    """Whether a text has more words than an answer has; the names of LaTeX commands do not count."""
    return len(_WORD.findall(_COMMAND.sub(" ", text))) >= PROSE_FROM


def _content(text: str, box: re.Match[str]) -> str | None:
    if box["bare"] is not None:  # `\boxed 5`, as in MATH
        return box["bare"]
    end = closing_brace(text, box.end())
    return None if end is None else text[box.end() + 1 : end].strip()


def parse_exact_json(text: str) -> Any:
    """Parse JSON with integers of any size; ValueError or RecursionError where it cannot be."""
    return json.loads(text, parse_int=_integer)


def _integer(text: str) -> int | Decimal:
    try:
        return int(text)
    except ValueError:  # more digits than Python turns into an int
        return Decimal(text)


def _number_text(number: Decimal) -> str:
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
