"""What a reward is: the one interface between what judges completions and what asks for a judgement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from maspo.rewards.verdict import Verdict

Messages = Sequence[Mapping[str, str]]
Judgement = Verdict | float | None
"""A verdict, a score, or None where a reward has nothing to say on a completion."""


class AskedProblem(Protocol):
    """The part of a `maspo.data.Problem` that a reward sees."""

    @property
    def id(self) -> str:
        """Its name, for errors."""
        ...

    @property
    def prompt(self) -> Messages:
        """Chat messages with role and content."""
        ...

    @property
    def answer(self) -> Any:
        """The gold, as JSON; only the kind that judges by it reads it."""
        ...

    @property
    def columns(self) -> Mapping[str, Any]:
        """Further columns of the problem's row, as JSON."""
        ...


class Reward(Protocol):
    """Judges completions of problems; made by a `RewardSpec`, and closed by whoever made it."""

    def judge(
        self, completions: Sequence[str], problems: Sequence[AskedProblem], **given: Any
    ) -> Sequence[Judgement]:
        """Judge each completion of the problem at the same place, in order.

        Args:
            completions: what the model wrote.
            problems: each with a gold to which its spec has no objection.
            given: what the caller has besides, for kinds that use it: `completion_ids`,
                `trainer_state`, `log_metric`, `log_extra`, as TRL hands them to reward functions.
        """
        ...

    def close(self) -> None:
        """Stop the processes it started; calling it again does nothing."""
        ...


@runtime_checkable
class ReadsGolds(Protocol):
    """A reward that can say, before anything is sampled, which golds it does not read whole."""

    def unread(self, problems: Sequence[AskedProblem]) -> Sequence[str | None]:
        """Return for each problem what is wrong with its gold, as a clause; None where nothing is."""
        ...


def score_of(judgement: Judgement) -> float | None:
    """Return the score of a judgement: of a verdict 1.0 where the completion is correct, else 0.0."""
    if isinstance(judgement, Verdict):
        return float(judgement.correct)
    return judgement
