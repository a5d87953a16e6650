"""What completions are rewarded for."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from maspo.recipes.sections.base import Count, Positive, Section
from maspo.rewards.reward_set import RewardSet, read_specs
from maspo.rewards.spec import Limits, RewardSpec


class RewardSection(Section):
    """What completions are rewarded for; without `functions` the verifier checks their answers."""

    functions: list[dict[str, Any]] = []
    """The rewards, `{source: mine.py:closeness, weight: 1.0}` or `{kind: math}`; each with the settings
    of its kind, see `maspo.rewards.KINDS`. Paths are relative to the recipe's file."""
    threshold: float | None = None
    """Where no reward gives verdicts: the weighted score from which an evaluation counts a completion as
    correct; 1 without it."""
    time_limit: Positive = 5.0
    """Seconds of wall clock for one answer, where its reward sets none."""
    workers: Count = 2
    """Processes that check answers."""
    verifier: Literal["extended", "math-verify"] = "extended"
    """How answers are read: with the package's rules before math-verify, or by math-verify alone."""

    @property
    def specs(self) -> list[RewardSpec]:
        """Read what is asked for; nothing is imported."""
        return read_specs(self.functions)

    @property
    def correct_from(self) -> float:
        """The threshold that is set, or its default."""
        return 1.0 if self.threshold is None else self.threshold

    def start(self) -> RewardSet:
        """Import and start the rewards; InputError where one cannot be used."""
        limits = Limits(time_limit=self.time_limit, workers=self.workers, verifier=self.verifier)
        return RewardSet.start(self.functions, limits=limits, threshold=self.correct_from)

    def start_deciding(self) -> RewardSet | None:
        """Start only the reward by whose verdicts evaluations count; None without one.

        None also where that would import the user's code.
        """
        place = next((n for n, spec in enumerate(self.specs) if spec.verdicts), None)
        if place is None or self.specs[place].imports:
            return None
        alone = {"functions": self.functions[place : place + 1], "threshold": None}
        return self.model_copy(update=alone).start()

    @model_validator(mode="after")
    def _sound(self) -> RewardSection:
        deciding = [spec.name for spec in self.specs if spec.verdicts]
        if deciding and self.threshold is not None:
            raise ValueError(
                f"reward.threshold has no effect: evaluations count the verdicts of {deciding[0]}"
            )
        return self
