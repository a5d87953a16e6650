"""The rules of the layer in front of math-verify: what each does, and the report it answers to."""

from collections.abc import Collection
from dataclasses import dataclass

from maspo.errors import InputError, unknown

_MATH_VERIFY = "https://github.com/huggingface/Math-Verify"
_HARNESS = "https://github.com/EleutherAI/lm-evaluation-harness"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A way in which an answer is read or compared other than by math-verify."""

    does: str
    """What it does, in a sentence."""
    source: str
    """The public report of what goes wrong without it."""


RULES: dict[str, Rule] = {
    "boxes": Rule(
        does="The last box decides, unless only a separator stands between boxes; empty boxes do not "
        "count; `\\boxed {}` and `\\fbox` are boxes.",
        source=f"{_MATH_VERIFY}/issues/44",
    ),
    "sentences": Rule(
        does='Without a box, what follows the last "answer is", or a text that is nothing but a '
        "formula, is read whole.",
        source=f"{_MATH_VERIFY}/issues/56",
    ),
    "punctuation": Rule(
        does="Closing punctuation, emphasis, colour and layout around an answer say nothing.",
        source=f"{_MATH_VERIFY}/issues/76",
    ),
    "unicode": Rule(
        does="Full-width digits, Unicode fractions, signs, powers and spaces are read.",
        source="https://baa.ai/research/52-math500-boxed-extraction.html",
    ),
    "thousands": Rule(
        does="`1\\,000`, `1 000` and `1,\\!000` are 1000; elements of a list never fuse.",
        source=f"{_HARNESS}/pull/4039",
    ),
    "mixed-numbers": Rule(does="`1 1/4` is five quarters.", source=f"{_MATH_VERIFY}/issues/34"),
    "repeating-decimals": Rule(
        does="`0.\\overline{3}` and `0.333\\ldots` are a third.",
        source=f"{_MATH_VERIFY}/issues/2",
    ),
    "python": Rule(
        does="`**`, `pi`, `exp()`, `sqrt()` and `1e3` are read.",
        source=f"{_MATH_VERIFY}/issues/69",
    ),
    "notation": Rule(
        does="Older and national notations are read: `{}_5C_2`, `7!!`, `cis`, `\\mathrm{e}`; `E_1` is a "
        "name.",
        source="https://arxiv.org/abs/2505.22203",
    ),
    "units": Rule(
        does="Units, currencies and nouns behind a number may be left out; where both are known they "
        "are converted, and another kind of unit is wrong; million multiplies.",
        source="https://github.com/stanfordnlp/dspy/issues/7811",
    ),
    "words": Rule(
        does="A number with words that negate or qualify it is not that number.",
        source="https://arxiv.org/abs/2505.22203",
    ),
    "choices": Rule(
        does="`(C)`, `C.` and `(C) 17` name the choice C.",
        source="https://github.com/NVIDIA-NeMo/Gym/pull/1844",
    ),
    "whole": Rule(
        does="A formula that does not parse is not replaced by a number inside it.",
        source=f"{_MATH_VERIFY}/pull/82",
    ),
    "chains": Rule(
        does="A chain of unequal links, `5=6`, is wrong.", source=f"{_MATH_VERIFY}/issues/60"
    ),
    "values": Rule(
        does="Numbers below 1 are compared relatively, exact ones exactly.",
        source=f"{_MATH_VERIFY}/issues/14",
    ),
    "bases": Rule(
        does="`52_8` is not `52_9`; a base that is not written is the one asked for.",
        source=f"{_HARNESS}/pull/3785",
    ),
    "letters": Rule(does="`2N` is not `2n`.", source="https://arxiv.org/abs/2505.22203"),
    "lists": Rule(
        does="Lists are compared element by element, sets are not tuples, dots count, and a point or "
        "a column may be written as a tuple.",
        source=f"{_MATH_VERIFY}/issues/13",
    ),
    "intervals": Rule(
        does="An inequality may stand for the set of its solutions.",
        source=f"{_MATH_VERIFY}/issues/10",
    ),
    "degrees": Rule(
        does="An exact multiple of pi may stand for an angle in degrees, and the other way.",
        source="https://arxiv.org/abs/2505.22203",
    ),
    "domains": Rule(
        does="Expressions are equal that agree wherever both are real, as `\\sqrt{1/n}` and "
        "`1/\\sqrt{n}`.",
        source=f"{_MATH_VERIFY}/issues/64",
    ),
}
"""The rules by name."""

VERIFIERS: dict[str, frozenset[str]] = {"extended": frozenset(RULES), "math-verify": frozenset()}
"""What a recipe may ask for: all rules, or none, which is math-verify alone."""


def chosen(rules: str | Collection[str]) -> frozenset[str]:
    """Return the rules that a name of `VERIFIERS`, or a collection of names of rules, stands for.

    Raises InputError for a name that is not known.
    """
    if isinstance(rules, str):
        if rules not in VERIFIERS:
            raise unknown("verifier", rules, VERIFIERS)
        return VERIFIERS[rules]
    for name in rules:
        if name not in RULES:
            raise InputError(f"the verifier has no rule {name!r}; known: {', '.join(RULES)}")
    return frozenset(rules)
