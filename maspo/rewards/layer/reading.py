"""What an answer says, taken apart once: value, unit, base, choice, elements of a list, words."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from sympy import Basic, Expr, I

from maspo.rewards.layer.latex import LATEX_SPACE, TEXT_GROUP, parse_latex, split
from maspo.rewards.layer.quantity import Quantity, read_quantity
from maspo.rewards.layer.spelling import respell
from maspo.rewards.layer.values import close, fraction, number, unwrapped
from maspo.rewards.layer.vocabulary import QUALIFIERS

_FORMULA = re.compile(
    r"\\(?:math[a-z]+|bf|operatorname)\s*\{[^{}]*[\d\\]"
)  # set in bold, not words
_BASE = re.compile(
    r"\(?\s*(?:\\(?:text|mathrm)\s*\{)?([0-9A-Za-z.]+)\}?\s*\)?\s*_\s*(?:\{\s*(?:\\text\s*\{)?\s*(\d+|[a-z]+)\s*\}?\s*\}|(\d+))"
)
_NUMERALS = {
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
    "sixteen": "16",
}
_CHOICE = re.compile(r"\(?\s*([A-Ja-j])\s*\)?")
_CHOICE_WITH_MORE = re.compile(r"(?:\(\s*([A-J])\s*\)|([A-J])\s*[.:)])\s*(?!,).*", re.DOTALL)
_NAME = re.compile(
    r"\s*(?:\\angle|\\overline|\\triangle)?\s*\{?(?:\\[a-zA-Z]+|[a-zA-Z]|(?:[A-Z]\s*){2,4})\}?\s*"
    r"(?:_\s*(?:\w|\{\s*\w+\s*\}))?\s*"
)
_DOTS = re.compile(r"\\[lcd]?dots(?![a-zA-Z])|\.\.\.")
_COLON = re.compile(r"(?<=\d)\s*(?:\\!)*\s*:\s*(?:\\!)*\s*(?=\d)")
_CONJUNCTION = re.compile(
    rf"(?:,{LATEX_SPACE}*)?(?:\\text\s*\{{\s*,?\s*(?:and|or)\s*,?\s*\}}|(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])|\\(?:lor|land|vee|wedge)(?![a-zA-Z]))"
)


_ROUGHLY = Fraction(1, 20)


@dataclass(frozen=True)
class Reading:
    """One answer, respelt and taken apart."""

    text: str
    """The answer as it was respelt, words and all."""
    rules: frozenset[str]

    @cached_property
    def letters(self) -> str:
        """The text without layout: what two answers that are the same to the letter share."""
        text = TEXT_GROUP.sub(r"\1", self.text)
        text = re.sub(rf"(?<=\d){LATEX_SPACE}+(?=\d)", "_", text)
        text = re.sub(rf"\\left(?![a-z])|\\right(?![a-z])|{LATEX_SPACE}", "", text)
        text = re.sub(r"\\[dtc]frac", r"\\frac", text)
        text = re.sub(r"([_^])\{(\w)\}", r"\1\2", text)
        return re.sub(
            r"\\(?:geqslant|geq)(?![a-z])",
            r"\\ge",
            re.sub(r"\\(?:leqslant|leq)(?![a-z])", r"\\le", text),
        ).rstrip(".,")

    @cached_property
    def words(self) -> list[str]:
        """The words in it, in lower case."""
        inside = " ".join(m[1] for m in TEXT_GROUP.finditer(self.text))
        outside = re.sub(r"\\[a-zA-Z]+", " ", TEXT_GROUP.sub(" ", self.text))
        return [
            w.lower() for w in re.findall(r"[^\W\d_]+(?:'t)?", inside + " " + outside) if len(w) > 1
        ]

    @property
    def qualifiers(self) -> frozenset[str]:
        """The words that make a number another thing than itself."""
        return frozenset(self.words) & QUALIFIERS

    @property
    def is_words(self) -> bool:
        """Whether it holds words and no number or formula."""
        bare = re.sub(r"[\s(){}.,:;'\"-]|\\[,;:! ]", "", TEXT_GROUP.sub(r"\1", self.text))
        return (
            bool(bare)
            and all(sign.isalpha() for sign in bare)
            and (len(bare) > 2 or bool(TEXT_GROUP.search(self.text)))
        )

    @cached_property
    def choice(self) -> str | None:
        """The letter, where it is nothing but one, or one with a text behind."""
        plain = TEXT_GROUP.sub(r"\1", self.text).strip(" .{}")
        found = _CHOICE.fullmatch(plain)
        if found:
            return found[1].upper()
        if self.elements:
            return None
        more = _CHOICE_WITH_MORE.fullmatch(plain)
        return (more[1] or more[2]) if more else None

    @property
    def is_choice(self) -> bool:
        """Whether it is a single letter that may name a choice."""
        return _CHOICE.fullmatch(TEXT_GROUP.sub(r"\1", self.text).strip(" .{}")) is not None

    @property
    def dotted(self) -> bool:
        """Whether dots stand for something left out."""
        return _DOTS.search(self.text) is not None

    @property
    def colon(self) -> str | None:
        """A time or ratio, in one spelling."""
        if not _COLON.search(self.text):
            return None
        plain = _COLON.sub(":", TEXT_GROUP.sub(r"\1", self.text)).lower()
        return re.sub(r"[\s.{}]|\\[,;:! ]", "", plain)

    @cached_property
    def base(self) -> tuple[str, str | None]:
        """Digits and base of a numeral; the base None where none is written."""
        found = _BASE.fullmatch(self.text.strip()) or _BASE.fullmatch(self.quantity.text.strip())
        if (
            found
            and found[1][0].isalnum()
            and (found[1].isdigit() or (len(found[1]) > 1 and found[1].isalnum()))
        ):
            written = found[2] or found[3]
            base = _NUMERALS.get(written, written)
            if base.isdigit() and 2 <= int(base) <= 36 and any(s.isdigit() for s in found[1]):
                return found[1].upper(), base
        return re.sub(r"[\s(){}]", "", self.text).upper(), None

    @property
    def name(self) -> str | None:
        """The name of what it gives the value of, as in `x=5`, in lower case; None where it has none."""
        sides = self.text.split("=")
        found = None if len(sides) != 2 or self.elements else _NAME.fullmatch(sides[0])
        return re.sub(r"[\s{}]", "", found[0]).lower() if found else None

    @cached_property
    def quantity(self) -> Quantity:
        """Its text without unit, nouns and currency, and the unit."""
        return read_quantity(self.text)

    @cached_property
    def elements(self) -> tuple[Reading, ...]:
        """Its parts, where it is a list without brackets of its own."""
        parts = split(_CONJUNCTION.sub(", ", self.text), ",;")
        if len(parts) < 2:
            return ()
        made = (
            Reading(part.strip(), self.rules) for part in parts if re.sub(LATEX_SPACE, "", part)
        )
        unique = {one.letters: one for one in made}
        return tuple(unique.values())

    @cached_property
    def bracketed(self) -> tuple[str, tuple[Reading, ...], str] | None:
        """Opening bracket, elements and closing bracket, where one pair encloses all of it."""
        text = re.sub(r"\\(?:left|right|bigl|bigr|Bigl|Bigr)(?![a-z])", "", self.text).strip()
        text = text.replace(r"\langle", "(").replace(r"\rangle", ")")
        text = re.sub(r"\A\\\{", "{", re.sub(r"\\\}\Z", "}", text))
        if len(text) < 2 or text[0] not in "([{" or text[-1] not in ")]}":
            return None
        depth = 0
        cleaned = text.replace(r"\{", " {").replace(r"\}", " }")
        for place, sign in enumerate(cleaned):
            depth += (sign in "([{") - (sign in ")]}")
            if depth == 0 and place < len(cleaned) - 1:
                return None
        parts = tuple(Reading(p.strip(), self.rules) for p in split(text[1:-1], ",;"))
        return text[0], parts, text[-1]

    @cached_property
    def value(self) -> Any:
        """What math-verify's parser makes of it without its unit; None where it does not parse."""
        found = parse_latex(self.text) if self.quantity.bare else None
        return _imaginary(parse_latex(self.quantity.text) if found is None else found)

    @property
    def unreadable(self) -> bool:
        """Whether nothing of it can be compared but its letters."""
        if self.is_words or self.choice or self.colon or self.base[1] or self.dotted:
            return False
        parts = self.elements or (self.bracketed[1] if self.bracketed else ()) or (self,)
        return self.value is None and any(
            part.value is None and not part.is_words for part in parts
        )

    @property
    def lost(self) -> frozenset[str]:
        """The letters of it that what math-verify's parser made of it does not have."""
        if self.is_words or self.choice or self.elements or not isinstance(self.value, Basic):
            return frozenset()
        bare = re.sub(r"\\[a-zA-Z]+", " ", TEXT_GROUP.sub(" ", self.quantity.text))
        written = set(re.findall(r"[a-zA-Z]", bare)) - set("eid")
        held = str(self.value).lower()
        return frozenset(letter for letter in written if letter.lower() not in held)

    @cached_property
    def number(self) -> Any:
        """What math-verify's parser makes of it with single letters behind it taken as a unit."""
        return _imaginary(parse_latex(self.quantity.text))


def _imaginary(value: Any) -> Any:
    """Read a lone letter i as the imaginary unit."""
    if isinstance(value, Expr) and set(map(str, value.free_symbols)) == {"i"}:
        return value.subs({symbol: I for symbol in value.free_symbols})
    return value


def read_answer(text: str, rules: Collection[str]) -> Reading:
    """Read a located answer, or a reference answer."""
    chosen = frozenset(rules)
    respelt = respell(_unwrapped(text), chosen)
    return Reading(_approximations(respelt), chosen)


def _unwrapped(text: str) -> str:
    r"""Take lists and numbers out of text: `\text{5 cm}` is `5 \text{ cm}`, `\text{B,E}` two texts."""

    def listed(found: re.Match[str]) -> str:
        if _FORMULA.match(found[0]):
            return found[0]
        parts = re.split(r"(\s*(?:[,;]|\b(?:and|or)\b)\s*)", found[1])
        if len(parts) == 1 or not all(part.strip() for part in parts):
            return found[0]
        return "".join(
            rf"\text{{{part}}}" if part.strip() not in (",", ";") else part for part in parts
        )

    text = TEXT_GROUP.sub(listed, text)

    def inside(found: re.Match[str]) -> str:
        if not re.search(r"\d", found[1]) or "mathrm" in found[0] or _FORMULA.match(found[0]):
            return found[0]
        pieces = re.split(r"(-?\d+(?:[\d.,/:]*\d)?%?)", found[1])
        if re.search(r"[A-Za-z]\d|\d[A-Za-z]", found[1]):
            return found[0]
        return "".join(
            piece if number else (rf"\text{{{piece}}}" if piece.strip() else piece)
            for piece, number in zip(pieces, [i % 2 for i in range(len(pieces))], strict=True)
        )

    return TEXT_GROUP.sub(inside, text)


def _approximations(text: str) -> str:
    r"""Keep of `a \approx b` the exact a, where the numbers agree roughly; b where a is a name."""
    parts = re.split(r"\\(?:approx|simeq|sim|doteq)(?![a-zA-Z])", text)
    if len(parts) != 2:
        return text
    left, right = (part.strip() for part in parts)
    if not left:
        return right
    exact, rounded = (
        number(unwrapped(parse_latex(read_quantity(side).text))) for side in (left, right)
    )
    if exact is None or rounded is None:
        return f"{left} = {right}"
    return left if close(exact, rounded, _ROUGHLY * abs(fraction(exact))) else f"{left} = {right}"
