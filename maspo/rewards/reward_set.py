"""The rewards of a run as one: names, weights, scores for training and verdicts for evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from maspo.errors import InputError
from maspo.rewards.registry import read_spec
from maspo.rewards.reward import AskedProblem, Judgement, ReadsGolds, Reward, score_of
from maspo.rewards.spec import Limits, RewardSpec
from maspo.rewards.verdict import Outcome, Verdict

THE_VERIFIER: tuple[Mapping[str, Any], ...] = ({"kind": "math"},)
"""The rewards of a recipe that lists none."""


def read_specs(functions: Sequence[Mapping[str, Any]]) -> list[RewardSpec]:
    """Read a recipe's `reward.functions`; InputError also where two rewards have one name."""
    specs = [read_spec(given) for given in functions or THE_VERIFIER]
    for number, spec in enumerate(specs):
        if spec.name in [other.name for other in specs[:number]]:
            raise InputError(f"two rewards are called {spec.name!r}; give one of them a name")
    return specs


def check_problems(specs: Sequence[RewardSpec], problems: Sequence[AskedProblem]) -> None:
    """Raise InputError for the first problem whose gold none of the rewards with verdicts can read."""
    judging = [spec for spec in specs if spec.verdicts]
    for problem in problems if judging else ():
        objections = [spec.objection(problem.answer) for spec in judging]
        if all(objections):
            has = "no answer" if problem.answer is None else f"the answer {problem.answer!r}"
            raise InputError(f"problem {problem.id} has {has}: {objections[0]}")


class RewardSet:
    """The rewards of a run, in the recipe's order; close it, or use it as a context manager."""

    def __init__(
        self,
        rewards: Sequence[Reward],
        specs: Sequence[RewardSpec],
        *,
        threshold: float = 1.0,
    ) -> None:
        """Take the rewards with what the recipe says of each; `threshold` is of `verdicts`."""
        self.rewards, self.specs, self.threshold = list(rewards), list(specs), threshold

    @classmethod
    def start(
        cls,
        functions: Sequence[Mapping[str, Any]] = (),
        *,
        limits: Limits | None = None,
        threshold: float = 1.0,
    ) -> RewardSet:
        """Import and start the rewards of a recipe's `reward.functions`; none means the verifier."""
        specs = read_specs(functions)
        started: list[Reward] = []
        try:
            for spec in specs:
                started.append(spec.start(limits or Limits()))
        except BaseException:
            for reward in started:
                reward.close()
            raise
        return cls(started, specs, threshold=threshold)

    @property
    def names(self) -> list[str]:
        """The name of each."""
        return [spec.name for spec in self.specs]

    @property
    def weights(self) -> list[float]:
        """The weight of each."""
        return [float(spec.weight) for spec in self.specs]

    @property
    def deciding(self) -> int | None:
        """The place of the first reward that gives verdicts, by which evaluations count."""
        return next((n for n, spec in enumerate(self.specs) if spec.verdicts), None)

    def judge(
        self,
        number: int,
        completions: Sequence[str],
        problems: Sequence[AskedProblem],
        **given: Any,
    ) -> list[Judgement]:
        """Judge by one of the rewards; None where it objects to the problem's gold.

        `given` is what `Reward.judge` takes; a list in it has an entry for each completion.
        """
        reward, spec = self.rewards[number], self.specs[number]
        rows = [row for row, one in enumerate(problems) if spec.objection(one.answer) is None]
        found: list[Judgement] = [None] * len(completions)
        if rows:
            part = {
                key: [value[row] for row in rows] if isinstance(value, list) else value
                for key, value in given.items()
            }
            judged = reward.judge(
                [completions[row] for row in rows], [problems[row] for row in rows], **part
            )
            for row, judgement in zip(rows, judged, strict=True):
                found[row] = judgement
        return found

    def unread(self, problems: Sequence[AskedProblem]) -> list[str | None]:
        """Return what is wrong with the golds that the deciding reward does not read whole; else None.

        It must have no objection to them. A reward that does not read golds finds nothing.
        """
        reward = None if self.deciding is None else self.rewards[self.deciding]
        if not isinstance(reward, ReadsGolds):
            return [None] * len(problems)
        return list(reward.unread(problems))

    def total(self, judgements: Sequence[Judgement]) -> float | None:
        """Add up the weighted scores of one completion; None where no reward has one for it."""
        scores = zip(map(score_of, judgements), self.weights, strict=True)
        parts = [score * weight for score, weight in scores if score is not None]
        return sum(parts) if parts else None

    def verdicts(
        self, completions: Sequence[str], problems: Sequence[AskedProblem]
    ) -> list[Verdict]:
        """Return for each completion the verdict that evaluations count, with its whole score.

        See `verdict`.
        """
        columns = [self.judge(n, completions, problems) for n in range(len(self.rewards))]
        return [self.verdict(judgements) for judgements in zip(*columns, strict=True)]

    def verdict(self, judgements: Sequence[Judgement]) -> Verdict:
        """Make one verdict of what every reward said of a completion, with the weighted sum as score.

        It is that of the first reward that gives one. Where none does, a completion is correct whose
        weighted scores add up to `threshold` or more.
        """
        total = self.total(judgements)
        for judgement in judgements:
            if isinstance(judgement, Verdict):
                return replace(judgement, score=total)
        reached = total is not None and total >= self.threshold
        return Verdict(
            outcome=Outcome.CORRECT if reached else Outcome.WRONG, answer=None, score=total
        )

    def close(self) -> None:
        """Close every reward; calling it again does nothing."""
        for reward in self.rewards:
            reward.close()

    def __enter__(self) -> RewardSet:
        """Return itself: leaving the block closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()
