r"""Answers respelt as LaTeX that math-verify reads: one function a rule, in the order of `STEPS`."""

# ruff: noqa: E501  (patterns)

import re
import unicodedata
from collections.abc import Callable, Collection
from fractions import Fraction
from math import prod

_SPACING = r"(?:\\[,;:! ]|~|\\q?quad(?![a-zA-Z])|\s)"
_SIGNS = {
    **dict.fromkeys("‐‑‒–—―−﹣－", "-"), "∞": r"\infty ", "√": r"\sqrt ", "≤": r"\le ", "≥": r"\ge ",
    "≠": r"\ne ", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": r"\div ", "∕": "/", "⁄": "/",
    "π": r"\pi ", "°": r"^{\circ}", "º": r"^{\circ}", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ",
    "∅": r"\emptyset ", "±": r"\pm ", "∓": r"\mp ", "≈": r"\approx ", "…": r"\ldots ", "ℝ": r"\mathbb{R}",
    "′": "'", "（": "(", "）": ")", "，": ",", "、": ",", "；": ";", "：": ":", "．": ".", "。": ".",
    "％": r"\%", "＝": "=", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "⟨": r"\langle ", "⟩": r"\rangle ",
}  # fmt: skip
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_SUBSCRIPT = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_INVISIBLE = dict.fromkeys(
    code
    for code in (
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2065),
        0xFEFF,
        0xAD,
    )
)


def _unicode(text: str) -> str:
    if text.isascii():
        return text
    text = text.translate(_INVISIBLE)
    text = _SUPERSCRIPT.sub(lambda m: f"^{{{_plain(m[0])}}}", text)
    text = _SUBSCRIPT.sub(lambda m: f"_{{{_plain(m[0])}}}", text)
    text = re.sub(r"(\d)\s?([½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])", r"\1 \2", text)
    text = re.sub(r"√\s*\(?([0-9a-zA-Z]+)\)?", r"\\sqrt{\1}", text)
    pieces = []
    for sign in text:
        plain = unicodedata.normalize("NFKC", sign)
        if sign in _SIGNS:
            pieces.append(_SIGNS[sign])
        elif "⁄" in plain:
            top, bottom = plain.split("⁄")
            pieces.append(rf"\frac{{{top}}}{{{bottom}}}")
        else:
            pieces.append(" " if plain.isspace() else plain if len(plain) == 1 else sign)
    return "".join(pieces)


def _plain(marks: str) -> str:
    return unicodedata.normalize("NFKC", marks).replace("−", "-")


_WRAPPERS = (
    re.compile(r"\\(?:boxed|fbox|mathbf|boldsymbol|bm|pmb|displaystyle|textstyle|bf|rm|mathrm|textbf|underline|emph|ensuremath|hbox|large|Large)\s*\{(.*)\}", re.DOTALL),
    re.compile(r"\\(?:color|textcolor)\s*\{[a-zA-Z]+\}\s*\{(.*)\}", re.DOTALL),
    re.compile(r"\\begin\{(?:aligned|align\*?|gathered|equation\*?|split)\}(.*)\\end\{[a-z*]+\}", re.DOTALL),
    re.compile(r"\\\((.*)\\\)", re.DOTALL), re.compile(r"\\\[(.*)\\\]", re.DOTALL),
    re.compile(r"\$+(.*?)\$+", re.DOTALL), re.compile(r"\*\*(.*)\*\*", re.DOTALL), re.compile(r"\{(.*)\}", re.DOTALL),
)  # fmt: skip
_LAYOUT = re.compile(
    r"\\(?:displaystyle|textstyle|bf|rm|limits|nolimits|big|Big|bigg|Bigg)[lr]?(?![a-zA-Z])"
)


def _punctuation(text: str) -> str:
    for _ in range(8):
        before = text
        text = re.sub(r"(?<!\\)[\s,;]+\Z", "", text.strip())
        text = (
            re.sub(r"(?<!\\ldots)(?<!\.)\s*(?:\\[,;: ])*\.+\s*\Z", "", text)
            if not text.endswith("...")
            else text
        )
        text = re.sub(r"\A(?:\\[,;:! ]|~)+|(?:\\[,;:! ]|~)+\Z", "", text)
        for pattern in _WRAPPERS:
            found = pattern.fullmatch(text)
            if found and _balanced(found[1]) and "$" not in found[1].replace(r"\$", ""):
                text = found[1].replace("&=", "=") if "begin" in pattern.pattern else found[1]
        if text == before:
            break
    text = re.sub(r"(?<![\^_])\{\s*([-+*/=<>:])\s*\}", r"\1", text)
    text = re.sub(r"\\phantom\s*(?:\{[^{}]*\}|[-+])?", "", text)
    return _LAYOUT.sub("", text).replace("*" * 2, "**").strip()


def _balanced(text: str) -> bool:
    depth = 0
    for sign in re.sub(r"\\[{}\\]", "", text):
        depth += (sign == "{") - (sign == "}")
        if depth < 0:
            return False
    return depth == 0


_THOUSANDS = re.compile(
    r"(?<![\d.,])(?<!\d[ ~])[1-9]\d{0,2}(?:(?:,|,\\!|\{,\}|\\,|\\ |~| |,\s?\\!\s?|\\!,)\d{3})+(?![\d])"
)


def _thousands(text: str) -> str:
    return _THOUSANDS.sub(lambda m: re.sub(r"\D", "", m[0]), text)


_MIXED = re.compile(
    rf"(?<![\d.}})a-zA-Z]){_SPACING}*(-?)\s*(\d+)(?:{_SPACING})+(?:(\d+)\s*/\s*(\d+)|\\[dtc]?frac\s*\{{(\d+)\}}\s*\{{(\d+)\}}|\\[dtc]?frac\s*(\d)\s*(\d))(?![\d])"
)


def _mixed(text: str) -> str:
    def added(found: re.Match[str]) -> str:
        top, bottom = next(
            p for p in ((found[3], found[4]), (found[5], found[6]), (found[7], found[8])) if p[0]
        )
        if int(bottom) == 0 or int(top) >= int(bottom):
            return found[0]
        value = int(found[2]) + Fraction(int(top), int(bottom))
        return rf"{found[1]}\frac{{{value.numerator}}}{{{value.denominator}}}"

    return _MIXED.sub(added, text)


_OVERLINE = re.compile(
    r"(-?)(\d*)\.(\d*)\\(?:overline|bar|dot|overbrace)\s*(?:\{(\d+)\}|(\d))(?:(\d*)\\dot\s*(?:\{(\d)\}|(\d)))?(?!\d)"
)
_BRACKETED = re.compile(r"(-?)(\d+)\.(\d*)\((\d+)\)(?!\d)")
_DOTTED = re.compile(r"(-?)(\d+)\.(\d*?)(\d{1,6}?)(\4+)\s*(?:\\[lc]?dots|\.\.\.+)")


def _repeating(text: str) -> str:
    def ratio(sign: str, whole: str, start: str, period: str) -> str:
        value = Fraction(int(period), 10 ** len(start) * (10 ** len(period) - 1))
        value += Fraction(int(whole + start or "0"), 10 ** len(start))
        return rf"{sign}\frac{{{value.numerator}}}{{{value.denominator}}}"

    def overlined(found: re.Match[str]) -> str:
        first = found[4] or found[5]
        return ratio(
            found[1], found[2], found[3], first + (found[6] or "") + (found[7] or found[8] or "")
        )

    text = _OVERLINE.sub(overlined, text)
    text = _BRACKETED.sub(lambda m: ratio(m[1], m[2], m[3], m[4]), text)
    return _DOTTED.sub(lambda m: ratio(m[1], m[2], m[3], m[4]), text)


_NAMES = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|pi|infty|theta|alpha|beta|sqrt|exp"
_NAME = re.compile(rf"(?<![\\a-zA-Z])({_NAMES})(?![a-zA-Z])")
_SCIENTIFIC = re.compile(r"(?<![\w.\\{])(\d+(?:\.\d+)?|\.\d+)[eE]\+?(-?\d{1,4})(?!\w|\.\d)")
_TIMES_TEN = re.compile(r"(?<=\d)\s*(?:\\,\s*)*[xX*]\s*10\s*(?=\^)")


def _python(text: str) -> str:
    text = re.sub(r"(?:np|math|numpy|sp|sympy)\.(?=[a-z])", "", text)
    text = _SCIENTIFIC.sub(r"\1 \\times 10^{\2}", text)
    text = re.sub(r"\*\*\s*(?:\(([^()]*)\)|(-?[\w.]+))", lambda m: f"^{{{m[1] or m[2]}}}", text)
    text = _TIMES_TEN.sub(r" \\times 10", text)
    text = re.sub(r"\^\(([^()]*)\)", r"^{\1}", text)
    text = re.sub(r"(?<=\d)\.(?=\s*[/*])", "", text)
    for name, opening, closing in (
        ("sqrt", r"\sqrt{", "}"),
        ("exp", "e^{", "}"),
        ("factorial", "(", ")!"),
    ):
        text = _called(text, name, opening, closing)
    text = re.sub(r"(?<![\\a-zA-Z])(?:oo|infinity|Infinity|inf)(?![a-zA-Z])", r"\\infty", text)
    text = _NAME.sub(r"\\\1 ", text)
    if re.search(r"\d", text) and not re.search(r"(?<![\\a-zA-Z])[a-zA-HJ-Z](?![a-zA-Z])", text):
        text = re.sub(r"(?<![a-zA-Z\\])I(?![a-zA-Z])", "i", text)
    return re.sub(r"(?<=[\w)}])\s*\*\s*(?=[\w(\\])", r" \\cdot ", text)


def _called(text: str, name: str, opening: str, closing: str) -> str:
    r"""Rewrite `name(...)`, also `\name(...)`, with balanced brackets."""
    pattern = re.compile(rf"(?<![a-zA-Z])\\?{name}\s*\(")
    for _ in range(20):
        found = pattern.search(text)
        if found is None:
            return text
        depth = 1
        for end in range(found.end(), len(text)):
            depth += (text[end] == "(") - (text[end] == ")")
            if depth == 0:
                text = (
                    text[: found.start()]
                    + opening
                    + text[found.end() : end]
                    + closing
                    + text[end + 1 :]
                )
                break
        else:
            return text
    return text


_NUMBER_GROUP = r"(?:\{\s*([^{}]+?)\s*\}|(\w))"
_LEFT_CHOOSE = re.compile(
    rf"(?:\{{\s*\}})?(?:_|\^)\s*{_NUMBER_GROUP}\s*(?:\\(?:mathrm|text|rm)\s*\{{\s*([CP])\s*\}}|([CP]))\s*_\s*{_NUMBER_GROUP}"
)
_RIGHT_CHOOSE = re.compile(
    r"(?<![a-zA-Z\\])(?:\\(?:mathrm|text|rm|mathbf)\s*\{\s*C\s*\}|C)\s*(?:_\s*(?:\{(\w+)\}|(\w))\s*\^\s*(?:\{(\w+)\}|(\w))|\^\s*(?:\{(\w+)\}|(\w))\s*_\s*(?:\{(\w+)\}|(\w)))"
)
_CALLED_CHOOSE = re.compile(r"(?<![a-zA-Z\\])C\s*\(\s*(\d+|[a-z])\s*,\s*(\d+|[a-z])\s*\)")
_DOUBLE_FACTORIAL = re.compile(r"(?<![\w)}!])\(?(\d{1,3})\)?!!(?!!)")
_TRIG_DEGREES = re.compile(
    r"(\\(?:sin|cos|tan|cot|sec|csc|cis)(?:\s*\^\s*\{?-?\d\}?)?)\s*(?:\\left)?\s*[({]?\s*(\d+(?:\.\d+)?)\s*\^\s*\{?\s*\\circ\s*\}?\s*(?:\\right)?\s*[)}]?"
)
_CIS = re.compile(
    r"\\(?:operatorname|text|mathrm)\s*\{\s*cis\s*\}|(?<![a-zA-Z\\])cis(?![a-zA-Z])|\\cis(?![a-zA-Z])"
)


def _notation(text: str) -> str:
    def chosen(found: re.Match[str]) -> str:
        top, bottom = found[1] or found[2], found[5] or found[6]
        if (found[3] or found[4]) == "C":
            return rf"\binom{{{top}}}{{{bottom}}}"
        return rf"\frac{{({top})!}}{{({top}-{bottom})!}}"

    text = _LEFT_CHOOSE.sub(chosen, text)

    def raised(found: re.Match[str]) -> str:
        low, high = (
            found[1] or found[2] or found[7] or found[8],
            found[3] or found[4] or found[5] or found[6],
        )
        numeric = low.isdigit() and high.isdigit()
        top, bottom = (
            (str(max(int(low), int(high))), str(min(int(low), int(high))))
            if numeric
            else (low, high)
        )
        return rf"\binom{{{top}}}{{{bottom}}}"

    text = _CALLED_CHOOSE.sub(r"\\binom{\1}{\2}", _RIGHT_CHOOSE.sub(raised, text))
    text = _DOUBLE_FACTORIAL.sub(lambda m: str(prod(range(int(m[1]), 0, -2))), text)
    for pattern in (
        r"\{([^{}]+)\\(choose|over)(?![a-z])([^{}]+)\}",
        r"\A([^{}]+)\\(choose|over)(?![a-z])([^{}]+)\Z",
    ):
        text = re.sub(
            pattern,
            lambda m: (
                rf"\{'binom' if m[2] == 'choose' else 'frac'}{{{m[1].strip()}}}{{{m[3].strip()}}}"
            ),
            text,
        )
    text = _CIS.sub(r"\\cis ", text)
    text = _TRIG_DEGREES.sub(lambda m: rf"{m[1]}(\frac{{{m[2]}\pi}}{{180}})", text)
    text = re.sub(
        r"\\cis\s*(\((?:[^()]|\([^()]*\))*\)|\{[^{}]*\}|\\[a-z]+|\w)", r"(\\cos \1+i\\sin \1)", text
    )
    text = re.sub(r"\\(?:mathrm|text|rm)\s*\{\s*([eid])\s*\}", r"\1", text)
    text = re.sub(r"\{\s*\\rm\s+([eid])\s*\}", r"\1", text)
    text = re.sub(
        r"\\(?:varnothing|emptyset)(?![a-zA-Z])|\\text\s*\{\s*(?:the )?empty set\s*\}|\\\{\s*\\\}",
        r"\\emptyset",
        text,
    )
    text = re.sub(
        r"\\[dtc]?frac\s*(\\[a-zA-Z]+|\d|[a-z])\s*(\\[a-zA-Z]+|\d|[a-z])(?![a-zA-Z])",
        r"\\frac{\1}{\2}",
        text,
    )
    text = re.sub(r"(?<=[a-zA-Z])_\{\s*\\(?:max|min)\s*\}", "", text)
    text = re.sub(r"\\(?:text|mathrm)\s*\{\s*(?:percent|pct)\s*\}", r"\\%", text)
    text = _POINTED.sub(r"(\1)", text)
    # a letter with an index is a name, also where it alone is a number; math-verify has no \odot
    text = _INDEXED.sub(lambda m: f"{_STAND_INS[m[1]]}_", text)
    # ... but a solar mass behind a number, at the end, is a unit
    return re.sub(r"_\s*(?:\\odot|\{\s*\\odot\s*\})(?!\s*\Z)", "_{s}", text)


_POINTED = re.compile(r"\\langle(?![a-zA-Z])([^<>|]*,[^<>|]*?)\\rangle(?![a-zA-Z])")
_STAND_INS = {"E": r"\Upsilon ", "e": r"\Xi ", "I": r"\Psi "}
_INDEXED = re.compile(r"(?<![a-zA-Z\\])([EeI])\s*_")


STEPS: dict[str, Callable[[str], str]] = {
    "unicode": _unicode,
    "punctuation": _punctuation,
    "repeating-decimals": _repeating,
    "thousands": _thousands,
    "python": _python,
    "mixed-numbers": _mixed,
    "notation": _notation,
}
"""How each rule respells an answer, in this order."""


def respell(text: str, rules: Collection[str]) -> str:
    """Apply the steps of these rules to an answer."""
    for name, step in STEPS.items():
        if name in rules:
            text = step(text)
    return text
