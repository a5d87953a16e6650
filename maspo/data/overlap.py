r"""Which problems of a benchmark are in a training set: word for word, or by shared 13-grams."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from maspo.data.problems import Problem

WINDOW = 13
_FRACTION = re.compile(r"\\[dt]frac")
_LAYOUT = re.compile(r"\\left|\\right|\\[()\[\]]|[${}\s]")
_IDEOGRAPH = "\u3040-\u30ff\u3400-\u9fff"
_TOKEN = re.compile(rf"[{_IDEOGRAPH}]|[^\W\d_{_IDEOGRAPH}]+|\d+|[-+*/=<>^]")


Window = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Match:
    """A problem of a benchmark that a training set contains."""

    problem_id: str
    exact: bool
    """Whether a training problem has the same text after `normalised`."""
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


def normalised(text: str) -> str:
    r"""Reduce a text to what `exact` compares.

    Lower case, `\dfrac` and `\tfrac` as `\frac`; without white space, braces, dollars, `\(`, `\[`,
    `\left` and `\right`.
    """
    return _LAYOUT.sub("", _FRACTION.sub(r"\\frac", text)).lower()


def tokens(text: str) -> list[str]:
    r"""Cut a text into the tokens of a window, in lower case.

    Words (the names of LaTeX commands too, `\dfrac` and `\tfrac` as `\frac`), single ideographs,
    numbers and the signs - + * / = < > ^; everything else only separates.
    """
    return _TOKEN.findall(_FRACTION.sub(r"\\frac", text).lower())


def overlap(
    train: Sequence[Problem], benchmarks: Mapping[str, Sequence[Problem]]
) -> dict[str, Overlap]:
    """Find the problems of each benchmark in a training set.

    What is compared is the last user message of each prompt: load both without a template. A
    problem shorter than 13 tokens can only be found whole.
    """
    wanted = {name: [_Wanted(one) for one in each] for name, each in benchmarks.items()}
    by_text: dict[str, list[_Wanted]] = defaultdict(list)
    by_window: dict[Window, list[_Wanted]] = defaultdict(list)
    for one in (one for each in wanted.values() for one in each):
        by_text[one.text].append(one)
        for window in one.windows:
            by_window[window].append(one)
    for problem in train:
        row = _Wanted(problem)
        for one in by_text.get(row.text, ()):
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
