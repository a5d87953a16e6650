"""What a recipe says of a reward, before anything is imported or started."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from maspo.errors import InputError
from maspo.rewards.reward import Reward


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The bounds of a recipe's rewards that no reward of it sets for itself."""

    time_limit: float = 5.0
    """Seconds of wall clock for one completion."""
    workers: int = 2
    """Processes that judge at the same time."""
    verifier: str = "extended"
    """Which verifier reads answers, one of `maspo.rewards.layer.rules.VERIFIERS`."""


@dataclass(frozen=True, kw_only=True)
class RewardSpec:
    """One reward of a recipe. A kind derives from it, adds its settings, and stands in `KINDS`."""

    weight: float = 1.0
    """The factor of its score in the reward of a completion."""
    name: str = ""
    """Its name in metrics and reports, `rewards/NAME/mean`."""

    kind: ClassVar[str]
    default_name: ClassVar[str]
    verdicts: ClassVar[bool]
    """Whether it judges by the problem's gold, with a `Verdict`; else it gives scores."""

    def __post_init__(self) -> None:
        """Fill in the name; InputError for a weight or a name that cannot be used."""
        if isinstance(self.weight, bool) or not isinstance(self.weight, int | float):
            raise InputError(f"the weight of a reward must be a number, not {self.weight!r}")
        if not math.isfinite(self.weight):
            raise InputError(f"the weight of a reward must be finite, not {self.weight}")
        if not self.name:
            object.__setattr__(self, "name", self.default_name)
        if not isinstance(self.name, str) or not re.fullmatch(r"[\w.-]+", self.name):
            raise InputError(
                f"the name of a reward is letters, digits, '.', '_' and '-', not {self.name!r}"
            )

    @property
    def imports(self) -> str | None:
        """The user's code that `start` will import; None where it is the package alone."""
        return None

    def code(self) -> str:
        """Read the user's code that `start` will import, as far as it is one file; else ""."""
        return ""

    def check(self) -> None:
        """Raise InputError where `start` is known to fail, as far as that is seen without importing."""

    def describe(self) -> str:
        """Say in a line what it is, for plans and reports."""
        source = f", {self.imports}" if self.imports else ""
        return f"{self.name}, weight {self.weight:g} ({self.kind}{source})"

    def start(self, limits: Limits) -> Reward:
        """Import and start what judges; InputError where that is not possible."""
        raise NotImplementedError

    @classmethod
    def objection(cls, answer: Any) -> str | None:
        """Return why a completion cannot be judged by the gold `answer`; None where it can."""
        return None

    @classmethod
    def own_text(cls, answer: Any) -> str | None:
        """Return a completion that is nothing but the gold `answer`, to see whether it can be reached.

        None where the kind has no such completion.
        """
        return None

    @classmethod
    def gold_of(cls, row: Mapping[str, Any]) -> Any:
        """Return the gold that the columns of a data set's row hold for this kind; None without one.

        The kind `math` has none of its own: its golds are the answers that `maspo.data` reads.
        """
        return None
