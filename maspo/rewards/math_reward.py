"""The kind `math`: completions are judged by a mathematical answer, with the verifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from maspo.rewards.layer.rules import chosen
from maspo.rewards.reward import AskedProblem
from maspo.rewards.spec import Limits, RewardSpec
from maspo.rewards.verdict import Gold, Outcome, Verdict
from maspo.rewards.verifier import Verifier

Completion = str | list[dict[str, Any]]
"""A text, or chat messages whose content is a text, None, or a list of parts."""


@dataclass(frozen=True, kw_only=True)
class MathSpec(RewardSpec):
    """The verifier: 1.0 for a correct answer, else 0.0."""

    without: Sequence[str] = ()
    """Rules of the verifier that are switched off, by name; see `maspo.rewards.layer.rules.RULES`."""

    kind: ClassVar[str] = "math"
    default_name: ClassVar[str] = "accuracy"
    verdicts: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the names of rules; InputError for one that there is not."""
        super().__post_init__()
        chosen([self.without] if isinstance(self.without, str) else self.without)

    @classmethod
    def objection(cls, answer: Any) -> str | None:
        """Take a text, or an object with the fields of `Gold`."""
        fields = dict(answer) if isinstance(answer, Mapping) else {"answer": answer}
        if isinstance(fields.get("answer"), str) and set(fields) <= set(Gold._fields):
            return None
        return f"an answer for the verifier is a text, or an object of {', '.join(Gold._fields)}"

    @classmethod
    def own_text(cls, answer: Any) -> str | None:
        r"""Put the answer into a `\boxed{...}`."""
        if cls.objection(answer):
            return None
        return rf"\boxed{{{answer if isinstance(answer, str) else answer['answer']}}}"

    def start(self, limits: Limits) -> MathReward:
        """Start the verifier."""
        rules = chosen(limits.verifier) - chosen(self.without)
        return MathReward(
            Verifier(workers=limits.workers, time_limit=limits.time_limit, rules=rules)
        )


class MathReward:
    """The verifier as a reward, and as a reward function with TRL's keyword contract.

    As a function it returns 1.0 for a correct completion and 0.0 for any other outcome. Give it to a
    trainer; the data set needs a column `answer`, and may have the columns `relative`, `absolute` and
    `unit`, the rules of `Gold` (None where a row has none). The share of each outcome is logged as
    `outcome/correct`, `outcome/timeout` and so on, so that a failing check never looks like a wrong
    answer.
    """

    __name__ = "accuracy"  # the trainer's name for the reward's metrics

    def __init__(self, verifier: Verifier | None = None) -> None:
        """Use `verifier`, or start one with the default settings."""
        self.verifier = Verifier() if verifier is None else verifier

    def judge(
        self, completions: Sequence[str], problems: Sequence[AskedProblem], **_: Any
    ) -> list[Verdict]:
        """Verify each completion; InputError as `Verifier.verify` raises it."""
        return self.verifier.verify(completions, [as_gold(problem.answer) for problem in problems])

    def unread(self, problems: Sequence[AskedProblem]) -> list[str | None]:
        """Say which golds the verifier does not read whole; InputError as `judge`."""
        found = self.verifier.check_golds([as_gold(problem.answer) for problem in problems])
        wrong = {one.place: one.wrong for one in found}
        return [wrong.get(place) for place in range(len(problems))]

    def close(self) -> None:
        """Close the verifier."""
        self.verifier.close()

    def __call__(
        self,
        completions: Sequence[Completion],
        answer: Sequence[str],
        relative: Sequence[float | None] | None = None,
        absolute: Sequence[float | None] | None = None,
        unit: Sequence[str | None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **_: Any,
    ) -> list[float]:
        """Return one float per completion; completions are strings or lists of chat messages.

        Raises InputError as `Verifier.verify` does.
        """
        rules = [column or [None] * len(answer) for column in (relative, absolute, unit)]
        golds = [Gold(*row) for row in zip(answer, *rules, strict=True)]
        verdicts = self.verifier.verify([text_of(completion) for completion in completions], golds)
        log_outcomes(verdicts, log_metric)
        if log_extra is not None:
            log_extra("extracted", [verdict.answer or "" for verdict in verdicts])
            log_extra("outcome", [str(verdict.outcome) for verdict in verdicts])
        return [float(verdict.outcome is Outcome.CORRECT) for verdict in verdicts]


def as_gold(answer: str | Mapping[str, Any]) -> str | Gold:
    """Read the gold of a problem as the verifier takes it."""
    return answer if isinstance(answer, str) else Gold(**answer)


def text_of(completion: Completion) -> str:
    """Return what the model wrote, of a text or of chat messages; the texts of the last one's parts."""
    if isinstance(completion, str):
        return completion
    content = (completion[-1].get("content") if completion else None) or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content)


def log_outcomes(
    verdicts: Sequence[Verdict],
    log_metric: Callable[[str, float], None] | None,
    *,
    prefix: str = "outcome",
) -> None:
    """Log the share of each outcome as `prefix/correct` and so on."""
    if log_metric is None or not verdicts:
        return
    counts = Counter(verdict.outcome for verdict in verdicts)
    for outcome in Outcome:
        log_metric(f"{prefix}/{outcome}", counts[outcome] / len(verdicts))
