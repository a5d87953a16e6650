"""Golds that no answer can be expected to reach, found before anything is sampled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from maspo.data import Problem
from maspo.data.golds import reads_as_prose
from maspo.rewards import Outcome, RewardSet

MOST = 5000
"""Distinct golds that are tried; those of MATH's 7,470 training problems take about 7 s."""


@dataclass(frozen=True, kw_only=True)
class Doubtful:
    """A gold that its own text does not satisfy, or that reads as prose."""

    problem_id: str
    """The first problem that has it."""
    text: str
    """The completion that was tried: the gold, as its kind of reward has an answer written."""
    why: str
    """The outcome of the verdict, or `prose`."""


@dataclass(frozen=True, kw_only=True)
class GoldTrial:
    """What a trial of the golds of a data set found."""

    golds: int
    """Distinct golds that have a text of their own."""
    tried: int
    """How many of them were tried: all, or the first `MOST`."""
    doubtful: list[Doubtful]


def try_golds(problems: Iterable[Problem], rewards: RewardSet, most: int = MOST) -> GoldTrial:
    """Judge the own text of each distinct gold by the reward whose verdicts an evaluation counts.

    A reward without verdicts, or whose golds have no such text, leaves the trial empty.
    """
    deciding = rewards.deciding
    if deciding is None:
        return GoldTrial(golds=0, tried=0, doubtful=[])
    own_text = rewards.specs[deciding].own_text
    texts = ((own_text(problem.answer), problem) for problem in problems)
    firsts: dict[tuple[str, str], Problem] = {}
    for text, problem in texts:
        if text is not None:
            firsts.setdefault((text, repr(problem.answer)), problem)
    tried = list(firsts.items())[:most]
    verdicts = rewards.verdicts([text for (text, _), _ in tried], [one for _, one in tried])
    doubtful = []
    for ((text, _), problem), verdict in zip(tried, verdicts, strict=True):
        if verdict.outcome is not Outcome.CORRECT:
            doubtful.append(Doubtful(problem_id=problem.id, text=text, why=str(verdict.outcome)))
        elif reads_as_prose(text):
            doubtful.append(Doubtful(problem_id=problem.id, text=text, why="prose"))
    return GoldTrial(golds=len(firsts), tried=len(tried), doubtful=doubtful)
