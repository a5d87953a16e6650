r"""Which problems of a benchmark are in a training set: word for word, or by shared 13-grams.

Both measures look through layout: `without_layout` takes a text down to its letters, digits and operators.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from maspo.data.problems import Problem

WINDOW = 13
CONTAINED = 30  # characters from which a problem that stands whole in another text is found
_FRACTION = re.compile(r"\\[dtc]frac(?![a-zA-Z])")
_SIZING = re.compile(
    r"\\(?:left|right|middle|[bB]igg?[lrm]?|displaystyle|textstyle|limits|nolimits)(?![a-zA-Z])"
)
_SPACING = re.compile(r"\\(?:q?quad|hspace\{[^{}]*\}|[,;:!> ])(?![a-zA-Z])|~")
_SAME = (
    (re.compile(r"\\leq(?:slant)?(?![a-zA-Z])"), r"\\le "),
    (re.compile(r"\\geq(?:slant)?(?![a-zA-Z])"), r"\\ge "),
    (re.compile(r"\\neq(?![a-zA-Z])"), r"\\ne "),
    (re.compile(r"(?<![\w}])(\w+)\s*/\s*(\w+)(?![\w{])"), r"\\frac{\1}{\2}"),
)
_SIGNS = {
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-"),
    **dict.fromkeys([*range(0x200B, 0x2010), *range(0x2060, 0x2065), 0xFEFF, 0xAD], ""),
    0x2264: r"\le ", 0x2265: r"\ge ", 0x2260: r"\ne ", 0xD7: r"\times ", 0xB7: r"\cdot ", 0x22C5: r"\cdot ",
    0xB0: r"^{\circ}", 0x3C0: r"\pi ", 0x221E: r"\infty ",
}  # fmt: skip
_IDEOGRAPH = "\u3040-\u30ff\u3400-\u9fff"
_TOKEN = re.compile(rf"[{_IDEOGRAPH}]|[^\W\d_{_IDEOGRAPH}]+|\d+|[-+*/=<>^]")
_KEPT = re.compile(r"[^\W_]|[-+*/=<>^]")


Window = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Match:
    """A problem of a benchmark that a training set contains."""

    problem_id: str
    exact: bool
    """Whether a training problem is, or holds, the same text after `normalised`."""
    share: float
    """The share of its 13-token windows that the training set holds; 0 if it has no window."""
    train_ids: tuple[str, ...]
    """The training problems that are the same, or hold at least half of its windows alone."""


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What of one benchmark a training set contains."""

    problems: int
    """Size of the benchmark."""
    matches: tuple[Match, ...]
    """The problems that are there word for word, or at least half of whose windows are. It includes
    problems of one template with other numbers: an upper bound."""

    @property
    def exact(self) -> list[str]:
        """Ids of the problems that are there word for word."""
        return [match.problem_id for match in self.matches if match.exact]

    @property
    def half(self) -> list[str]:
        """Ids of the problems at least half of whose 13-token windows are there."""
        return [match.problem_id for match in self.matches if match.share >= 0.5]


def without_layout(text: str) -> str:
    r"""Write a text without what only lays it out: sizing and spacing commands, Unicode's own signs.

    Compatibility forms (full width, ligatures) are decomposed, `\dfrac`, `\tfrac` and `\cfrac` are
    `\frac`, `a/b` too, `\leq` is `\le`, and everything is in lower case.
    """
    text = unicodedata.normalize("NFKC", text.translate(_SIGNS)).translate(_SIGNS)
    text = _SPACING.sub(" ", _SIZING.sub(" ", _FRACTION.sub(r"\\frac", text)))
    for pattern, same in _SAME:
        text = pattern.sub(same, text)
    return text.lower()


def normalised(text: str) -> str:
    """Reduce a text to what `exact` compares: its letters, digits and operators."""
    return "".join(_KEPT.findall(without_layout(text)))


def tokens(text: str) -> list[str]:
    """Cut a text into the tokens of a window.

    Words (the names of LaTeX commands too), single ideographs, numbers and the signs
    - + * / = < > ^ of `without_layout`; everything else only separates.
    """
    return _TOKEN.findall(without_layout(text))


def overlap(
    train: Sequence[Problem], benchmarks: Mapping[str, Sequence[Problem]]
) -> dict[str, Overlap]:
    """Find the problems of each benchmark in a training set.

    What is compared is the last user message of each prompt: load both without a template. A
    problem of at least 30 letters, digits and operators that stands whole in a training text is
    found as exact, whatever stands around it; a shorter one where the two texts are the same.
    """
    wanted = {name: [_Wanted(one) for one in each] for name, each in benchmarks.items()}
    by_text: dict[str, list[_Wanted]] = defaultdict(list)
    by_window: dict[Window, list[_Wanted]] = defaultdict(list)
    for one in (one for each in wanted.values() for one in each):
        by_text[one.text].append(one)
        for window in one.windows:
            by_window[window].append(one)
    starts: dict[str, set[str]] = defaultdict(set)
    for text in by_text:
        if len(text) >= CONTAINED:
            starts[text[:CONTAINED]].add(text)
    for problem in train:
        row = _Wanted(problem)
        for one in by_text.get(row.text, ()):
            one.same.add(problem.id)
        for place in range(len(row.text) - CONTAINED + 1):
            for text in starts.get(row.text[place : place + CONTAINED], ()):
                if row.text.startswith(text, place):
                    for one in by_text[text]:
                        one.same.add(problem.id)
        for window in row.windows & by_window.keys():
            for one in by_window[window]:
                one.held[problem.id].add(window)
    return {
        name: Overlap(problems=len(each), matches=tuple(filter(None, map(_match, each))))
        for name, each in wanted.items()
    }


class _Wanted:
    """A problem as it is looked for, and where it was found."""

    def __init__(self, problem: Problem) -> None:
        asked = [message for message in problem.prompt if message["role"] == "user"][-1]["content"]
        cut = tokens(asked)
        self.id, self.text = problem.id, normalised(asked)
        self.windows = {tuple(cut[i : i + WINDOW]) for i in range(len(cut) - WINDOW + 1)}
        self.same: set[str] = set()
        self.held: dict[str, set[Window]] = defaultdict(set)


def _match(one: _Wanted) -> Match | None:
    size = len(one.windows)
    alone = {row for row, held in one.held.items() if len(held) >= size / 2}
    share = len(set().union(*one.held.values())) / size if size else 0.0
    if not one.same and share < 0.5:
        return None
    return Match(
        problem_id=one.id,
        exact=bool(one.same),
        share=share,
        train_ids=tuple(sorted(one.same | alone)),
    )
