r"""What math-verify reads in a text, for less: `parse` with the same result.

Two things cost most. Its patterns are searched for in the whole text, also those that begin with
"final answer" or `\boxed` where the text holds no such thing: those are left out. And LaTeX is
parsed by ANTLR in Python. Plain numbers need no parser. The rest is done in stages, as ANTLR's manual
has it: SLL prediction is several times faster and gives either the tree of full LL prediction or a
syntax error, and only then LL is asked. What SLL stumbles over most is a letter before an exponent,
so that is tried in braces first. Results are kept, failures too: math-verify keeps the last 20, here
it keeps more.
"""

import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

from antlr4 import PredictionMode
from latex2sympy2_extended import latex2sympy2
from math_verify import ExprExtractionConfig, LatexExtractionConfig, parser
from sympy import Float, Integer, Rational

_UNPARSABLE = object()
_KEPT, _LONGEST_KEPT = 2048, 500  # results, and characters of LaTeX
_CONFIGS = (LatexExtractionConfig(), ExprExtractionConfig())
_ODD_CASES = re.compile(
    "[ſıİ]"
)  # these match s and i where case is ignored, but lower() keeps them
_PLAIN = re.compile(
    r"(?P<sign>-?)(?:(?P<whole>[0-9]{1,200}(?:\.[0-9]{1,200})?)"
    r"|\\frac\{(?P<top>[0-9]{1,200})\}\{(?P<bottom>[0-9]{1,200})\})"
)
# commands are passed over; d, e, f, g, h and i may be more than a variable
_RAISED = re.compile(r"\\[a-zA-Z]+|(?<!_)([abcj-zA-CF-Z])(?=\s*\^\s*(?:[0-9]|\{\s*[0-9]+\s*\}))")
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
    @lru_cache(maxsize=_KEPT)
    def kept(latex: str) -> Any:
        try:
            return parse_latex(latex)
        except RecursionError:
            raise
        except Exception:
            return _UNPARSABLE  # the error itself would keep a whole parser alive

    def parse(latex: str) -> Any:
        if len(latex) > _LONGEST_KEPT:
            return parse_latex(latex)
        parsed = kept(latex)
        if parsed is _UNPARSABLE:
            raise ValueError(f"this does not parse: {latex}")
        return parsed

    return parse


class _Converter(latex2sympy2._Latex2Sympy):
    """latex2sympy's converter with a choice of how ANTLR predicts."""

    prediction: PredictionMode

    def create_parser(self, latex_str: str) -> Any:
        made = super().create_parser(latex_str)
        made._interp.predictionMode = self.prediction
        return made

    def parse_number(self, text: str) -> Any:
        number = _plain_number(text)
        return super().parse_number(text) if number is None else number


def _plain_number(latex: str) -> Any:
    r"""Return `-3`, `0.5` or `\frac{3}{4}` as latex2sympy does, without a parser; None for all else."""
    found = _PLAIN.fullmatch(latex)
    if found is None or (found["bottom"] and not int(found["bottom"])):
        return None
    if found["top"]:
        value = Rational(int(found["top"]), int(found["bottom"]))
    else:
        value = Integer(found["whole"]) if found["whole"].isdigit() else Float(found["whole"])
    return -value if found["sign"] else value


def _convert(
    latex: str, *, is_real: bool, convert_degrees: bool, normalization_config: None
) -> Any:
    """Stand in for `latex2sympy` as math-verify calls it, on LaTeX that is normalised already."""
    number = _plain_number(latex)
    if number is not None:
        return number
    stages = [(latex, PredictionMode.SLL), (latex, PredictionMode.LL)]
    braced = _RAISED.sub(lambda found: f"{{{found[1]}}}" if found[1] else found[0], latex)
    if braced != latex:
        stages.insert(1, (braced, PredictionMode.SLL))
    for spelling, prediction in stages:
        converter = _Converter(None, is_real, convert_degrees)
        converter.prediction = prediction
        try:
            return converter.parse(spelling)
        except Exception:
            if prediction is PredictionMode.LL:
                raise
    raise AssertionError("the last stage returns or raises")


@cache
def patch_math_verify() -> None:
    """Make math-verify parse faster in this process. Only a worker does it, and what it is forked from."""
    parser.latex2sympy = _convert
    parser.parse_latex_cached = _keeping(parser.parse_latex_cached.__wrapped__)
