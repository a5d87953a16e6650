r"""LaTeX as the layer takes it: what is space and what is text in it, its parts, and its value."""

# ruff: noqa: E501  (patterns)

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from latex2sympy2_extended.math_normalization import NormalizationConfig, normalize_latex
from math_verify import parser

LATEX_SPACE = r"(?:\s|~|\\[,;:! ]|\\q?quad(?![a-zA-Z]))"
"""Pattern of one space."""
TEXT_COMMAND = r"\\(?:text|textrm|textup|textbf|textit|textnormal|mathrm|mathbf|mathit|mbox|operatorname|rm|bf)"
"""Pattern of a command that sets text."""
TEXT_GROUP = re.compile(rf"{TEXT_COMMAND}\s*\{{([^{{}}]*)\}}")
"""Text, in group 1, with the command that sets it."""
_AS_WRITTEN = NormalizationConfig(
    basic_latex=True,
    units=False,
    malformed_operators=True,
    nits=True,
    boxed="none",
    equations=False,
)


def split(text: str, separators: str) -> list[str]:
    """Cut a text at separators outside all brackets."""
    parts, depth, start, place = [], 0, 0, 0
    while place < len(text):
        if text.startswith(("\\left", "\\right"), place) and place + 6 < len(text):
            place += 5 if text.startswith("\\left", place) else 6
            continue
        sign = text[place]
        if sign == "\\" and text[place + 1 : place + 2] in ("{", "}"):
            depth += 1 if text[place + 1] == "{" else -1
            place += 2
            continue
        if sign == "\\" and text[place + 1 : place + 2] in (",", ";"):
            place += 2
            continue
        if text.startswith(("\\begin", "\\end"), place):
            depth += 1 if text.startswith("\\begin", place) else -1
            place += 4
            continue
        depth += (sign in "([{") - (sign in ")]}")
        if depth == 0 and sign in separators:
            parts.append(text[start:place])
            start = place + 1
        place += 1
    return [*parts, text[start:]]


@lru_cache(maxsize=4096)
def parse_latex(latex: str) -> Any:
    """Parse LaTeX as math-verify does, all of it or not at all."""
    if not latex.strip():
        return None
    try:
        return parser.parse_latex_cached(normalize_latex(latex, _AS_WRITTEN))
    except RecursionError:
        raise
    except Exception:
        return None
