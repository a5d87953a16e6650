"""The rewards of a run as TRL calls them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from maspo.data import Problem
from maspo.rewards import RewardSet, Verdict
from maspo.rewards.math_reward import Completion, log_outcomes, text_of
from maspo.rewards.reward import score_of


def rows_of(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Make the rows of the data set: the prompt, and the problem's number for `reward_functions`."""
    return [
        {"prompt": list(problem.prompt), "problem": number}
        for number, problem in enumerate(problems)
    ]


def reward_functions(
    rewards: RewardSet, problems: Sequence[Problem]
) -> list[Callable[..., list[float | None]]]:
    """Make TRL's `reward_funcs` for rows of `rows_of`; the weights are `rewards.weights`."""
    return [_RewardFunction(rewards, number, problems) for number in range(len(rewards.names))]


class _RewardFunction:
    def __init__(self, rewards: RewardSet, number: int, problems: Sequence[Problem]) -> None:
        self.rewards, self.number, self.problems = rewards, number, problems
        self.__name__ = rewards.names[number]  # of its metrics
        self.first = number == rewards.deciding

    def __call__(
        self,
        completions: Sequence[Completion],
        problem: Sequence[int],
        completion_ids: list[list[int]] | None = None,
        trainer_state: Any = None,
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **_: Any,
    ) -> list[float | None]:
        """Return a score for each completion, or None; log the outcomes where there are verdicts."""
        judgements = self.rewards.judge(
            self.number,
            [text_of(completion) for completion in completions],
            [self.problems[number] for number in problem],
            completion_ids=completion_ids,
            trainer_state=trainer_state,
            log_metric=log_metric,
            log_extra=log_extra,
        )
        verdicts = [one for one in judgements if isinstance(one, Verdict)]
        prefix = "outcome" if self.first else f"outcome/{self.__name__}"
        log_outcomes(verdicts, log_metric, prefix=prefix)
        if self.first and log_extra is not None:
            found = [one if isinstance(one, Verdict) else None for one in judgements]
            log_extra("extracted", [(one and one.answer) or "" for one in found])
            log_extra("outcome", [str(one.outcome) if one else "" for one in found])
        return [score_of(judgement) for judgement in judgements]
