r"""The cheap half of the verifier: where the answer stands, and equality of plain numbers.

Everything here decides exactly as math-verify would on the whole completion, or does not decide.
"""

import re
from fractions import Fraction

_PERCENT = re.compile(r"%|percent|pct", re.IGNORECASE)
# Runs of white space are taken whole and from their start only: in linear time, that is.
_ANCHOR = re.compile(r"final answer.{0,100}?(?<!\s)\s++is", re.IGNORECASE | re.DOTALL)
_BOX_BEHIND_ANCHOR = re.compile(
    r"(?<!\s)\s++is:?\s*+(?:\$\$?|\\\(|\\\[)?\s*+(?=\\boxed)", re.IGNORECASE
)
_NO_MORE_MATH = re.compile(r"\s*+(?:\$\$?|\\\)|\\\])?[^$\\\[]*+")
_HASHES = re.compile(r"####\s+(-?(?:\d+|[1-9]\d{0,2}(?:,\d{3})+)(?:\.\d+)?)\s*\Z")

_SIGN, _INTEGER = r"(?P<sign>-?)", r"(?:\d+|[1-9]\d{0,2}(?:,\d{3})+)"
_DECIMAL = re.compile(rf"\A{_SIGN}(?P<top>{_INTEGER}(?:\.\d+)?)")
_FRACTION = re.compile(rf"\A{_SIGN}\\[dt]?frac\{{(?P<top>\d+)\}}\{{(?P<bottom>\d+)\}}")
_SLASH = re.compile(rf"\A{_SIGN}(?P<top>\d+)/(?P<bottom>\d+)")
_MOST_DIGITS = 12  # with more, rounding to 6 decimals meets the end of double precision
# Decimals are equal to math-verify when their roundings to 6 places are; well above that, never.
_ROUNDING = Fraction(1, 100_000)


def isolate_answer(completion: str) -> str | None:
    r"""Cut a completion down to its `\boxed{...}` or its closing `#### x`.

    Returns None wherever math-verify might read something else in the whole text: several boxes, a
    "final answer is" that is not the box, the word "answer" in it, a percent sign behind it.
    """
    count = completion.count(r"\boxed") + completion.count(r"\fbox")
    if count == 0 and "answer" not in completion.casefold():  # "anſwer" too
        found = _HASHES.search(completion)
        return f"#### {found[1]}" if found else None
    start = completion.find(r"\boxed{")
    if count != 1 or start < 0:
        return None
    end = closing_brace(completion, start + len(r"\boxed"))
    if end is None:
        return None
    box, behind = completion[start : end + 1], completion[end + 1 :]
    if not boxed_text(box) or "answer" in box.casefold() or _PERCENT.search(behind):
        return None
    # The pattern is slow; in ASCII, ignoring case is what lower() does.
    if completion.isascii() and "final answer" not in completion.lower():
        return box
    if _ANCHOR.search(completion) and not _NO_MORE_MATH.fullmatch(behind):
        return None
    if _ANCHOR.search(_BOX_BEHIND_ANCHOR.sub("", completion)):
        return None
    return box


def boxed_text(isolated: str) -> str:
    """The bare answer inside what `isolate_answer` returned."""
    if isolated.startswith("####"):
        return isolated[4:].strip()
    return isolated[len(r"\boxed{") : -1].strip()


def compare_numbers(answer: str, gold: str) -> bool | None:
    r"""Compare two plain numbers, such as `-3`, `1,234`, `0.5`, `3/4`, `\frac{3}{4}`; else None.

    None also where exact comparison and math-verify's rounding may differ, as for 1/3 and 0.333333.
    """
    left, right = _value(answer.strip()), _value(gold.strip())
    if left is None or right is None:
        return None
    if left == right:
        return True
    integers = left.denominator == right.denominator == 1
    return False if integers or abs(left - right) > _ROUNDING else None


def same_value(answer: str) -> str:
    """Return a text that answers of one value share, as far as that is told without a worker.

    Numbers in any spelling of `compare_numbers`; of everything else the text without its layout.
    """
    bare = _LAYOUT.sub("", answer).rstrip(".,;")
    bare = f"0{bare}" if bare.startswith(".") else bare
    value = _value(bare.replace("{,}", ","))
    return bare if value is None else str(value)


_LAYOUT = re.compile(r"\\left(?![a-z])|\\right(?![a-z])|\\[,;:! ]|[\s~$]")


def _value(text: str) -> Fraction | None:
    found = _DECIMAL.fullmatch(text) or _FRACTION.fullmatch(text) or _SLASH.fullmatch(text)
    if found is None or not text.isascii() or sum(map(str.isdigit, text)) > _MOST_DIGITS:
        return None
    bottom = int(found.groupdict().get("bottom") or 1)
    if bottom == 0:
        return None
    value = Fraction(found["top"].replace(",", "")) / bottom
    return -value if found["sign"] else value


def closing_brace(text: str, opening: int) -> int | None:
    """Find the brace that closes the one at `opening`; None if it is never closed."""
    depth = 0
    for position in range(opening, len(text)):
        depth += (text[position] == "{") - (text[position] == "}")
        if depth == 0:
            return position
    return None
