r"""What math-verify reads in a text, for less: `parse` with the same result.

Two things cost most. Its patterns are searched for in the whole text, also those that begin with
"final answer" or `\boxed` where the text holds no such thing: those are left out. And LaTeX is
parsed by ANTLR in Python. That is done in two stages, as ANTLR's manual has it: SLL prediction is
several times faster and gives either the tree of full LL prediction or a syntax error, and only
then LL is asked. Results are kept: math-verify keeps the last 20, here it keeps more.
"""

import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

from antlr4 import PredictionMode
from latex2sympy2_extended import latex2sympy2
from math_verify import ExprExtractionConfig, LatexExtractionConfig, parser

_KEPT, _LONGEST_KEPT = 2048, 500  # results, and characters of LaTeX
_CONFIGS = (LatexExtractionConfig(), ExprExtractionConfig())
_ODD_CASES = re.compile(
    "[ſıİ]"
)  # these match s and i where case is ignored, but lower() keeps them
_BOX = 50  # math-verify's priority of boxes; what it finds without any anchor has 300


def read(text: str) -> list[Any]:
    """Return what `parse(text)` returns; raises what math-verify raises inside, has no timeout."""
    return _read(text, range(1000))


def parse_isolated(text: str) -> list[Any]:
    """Parse what `isolate_answer` found; empty where math-verify would look further in the text."""
    if text.startswith("####"):
        return read(text)
    parsed = _read(text, range(_BOX, _BOX + 1))
    # A lone string means that the box did not parse.
    return parsed if len(parsed) == 2 else []


def _read(text: str, priorities: range) -> list[Any]:
    lower = None if _ODD_CASES.search(text) else text.lower()
    chosen = [
        (
            [one for one in patterns if one[1] in priorities and _may_match(one[0], text, lower)],
            kind,
        )
        for patterns, kind in _patterns()
    ]
    return parser.extract_target_from_pred(text, chosen, fallback_mode="first_match")


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[list[tuple[re.Pattern[str], int]], Any]]:
    return parser.get_extraction_regexes(_CONFIGS)


def _may_match(pattern: re.Pattern[str], text: str, lower: str | None) -> bool:
    """Whether the words are there without which the pattern finds nothing."""
    for words in ("final answer", "answer"):
        if words in pattern.pattern:
            return lower is None or words in lower
    return r"\\boxed" not in pattern.pattern or r"\boxed" in text


def _keeping(parse_latex: Callable[[str], Any]) -> Callable[[str], Any]:
    kept = lru_cache(maxsize=_KEPT)(parse_latex)
    return lambda latex: kept(latex) if len(latex) <= _LONGEST_KEPT else parse_latex(latex)


class _Converter(latex2sympy2._Latex2Sympy):
    """latex2sympy's converter with a choice of how ANTLR predicts."""

    prediction: PredictionMode

    def create_parser(self, latex_str: str) -> Any:
        made = super().create_parser(latex_str)
        made._interp.predictionMode = self.prediction
        return made


def _convert(
    latex: str, *, is_real: bool, convert_degrees: bool, normalization_config: None
) -> Any:
    """Stand in for `latex2sympy` as math-verify calls it, on LaTeX that is normalised already."""
    converter = _Converter(None, is_real, convert_degrees)
    converter.prediction = PredictionMode.SLL
    try:
        return converter.parse(latex)
    except Exception:
        converter = _Converter(None, is_real, convert_degrees)
        converter.prediction = PredictionMode.LL
        return converter.parse(latex)


@cache
def patch_math_verify() -> None:
    """Make math-verify parse faster in this process. Only a worker does it, and what it is forked from."""
    parser.latex2sympy = _convert
    parser.parse_latex_cached = _keeping(parser.parse_latex_cached.__wrapped__)
