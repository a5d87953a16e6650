"""The verifier as a reward function with TRL's keyword contract; TRL itself is not needed."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from maspo.rewards.verdict import Gold, Outcome
from maspo.rewards.verifier import Verifier

Completion = str | list[dict[str, str]]


class MathReward:
    """1.0 for a correct completion, 0.0 for any other outcome.

    Give it to a trainer as a reward function; the data set needs a column `answer`, and may have
    the columns `relative`, `absolute` and `unit`, the rules of `Gold` (None where a row has none).
    Training then judges as evaluation does. The share of
    each outcome is logged as `outcome/correct`, `outcome/timeout` and so on, so that a failing
    check never looks like a wrong answer.
    """

    __name__ = "accuracy"  # the trainer's name for the reward's metrics

    def __init__(self, verifier: Verifier | None = None):
        """Use `verifier`, or start one with the default settings."""
        self.verifier = Verifier() if verifier is None else verifier

    def __call__(
        self,
        completions: Sequence[Completion],
        answer: Sequence[str],
        relative: Sequence[float | None] | None = None,
        absolute: Sequence[float | None] | None = None,
        unit: Sequence[str | None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **kwargs: Any,
    ) -> list[float]:
        """One float per completion; completions are strings or lists of chat messages.

        Raises InputError as `Verifier.verify` does.
        """
        rules = [column or [None] * len(answer) for column in (relative, absolute, unit)]
        golds = [Gold(*row) for row in zip(answer, *rules, strict=True)]
        verdicts = self.verifier.verify([_text(completion) for completion in completions], golds)
        if log_metric is not None and verdicts:
            counts = Counter(verdict.outcome for verdict in verdicts)
            for outcome in Outcome:
                log_metric(f"outcome/{outcome}", counts[outcome] / len(verdicts))
        if log_extra is not None:
            log_extra("extracted", [verdict.answer or "" for verdict in verdicts])
            log_extra("outcome", [str(verdict.outcome) for verdict in verdicts])
        return [float(verdict.outcome is Outcome.CORRECT) for verdict in verdicts]


def _text(completion: Completion) -> str:
    return completion if isinstance(completion, str) else completion[-1]["content"]
