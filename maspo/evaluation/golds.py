"""Golds that hardly any answer can reach, or that are not read whole, found before anything is sampled.

Both are asked of the reward's own processes, so that its limits on one check and on a batch bound the time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from maspo.data import Problem
from maspo.data.golds import reads_as_prose
from maspo.rewards import Outcome, RewardSet, Verdict

MAX_GOLDS = 5000
"""Distinct golds that are tried; those of MATH's 7,470 training problems take about 7 s."""


@dataclass(frozen=True, kw_only=True)
class Doubtful:
    """A gold that its own text does not satisfy, that reads as prose, or that is not read whole."""

    problem_id: str
    """The first problem that has it."""
    text: str
    """The completion that was tried: the gold, as its kind of reward has an answer written."""
    why: str
    """The outcome of the verdict, `prose`, or what is lost in reading it."""


@dataclass(frozen=True, kw_only=True)
class GoldTrial:
    """What a trial of the golds of a data set found."""

    golds: int
    """Distinct golds that have a text of their own."""
    tried: int
    """How many of them were tried: all, or the first `MAX_GOLDS`."""
    doubtful: list[Doubtful]


def try_golds(problems: Iterable[Problem], rewards: RewardSet, most: int = MAX_GOLDS) -> GoldTrial:
    """Judge the own text of each distinct gold by the reward whose verdicts an evaluation counts.

    Where its own text reaches a gold, the reward is asked whether it reads the gold whole.

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
    own, asked = [text for (text, _), _ in tried], [problem for _, problem in tried]
    verdicts = rewards.judge(deciding, own, asked)
    doubtful = []
    for text, problem, verdict, lost in zip(
        own, asked, verdicts, rewards.unread(asked), strict=True
    ):
        assert isinstance(verdict, Verdict)
        reached = verdict.outcome is Outcome.CORRECT
        why = str(verdict.outcome) if not reached else "prose" if reads_as_prose(text) else lost
        if why is not None:
            doubtful.append(Doubtful(problem_id=problem.id, text=text, why=why))
    return GoldTrial(golds=len(firsts), tried=len(tried), doubtful=doubtful)
