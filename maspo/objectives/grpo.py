"""GRPO's clipped objective and its two common variants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from maspo.core.batch import TokenBatch
from maspo.core.objective import GatedObjective
from maspo.core.select import pick
from maspo.core.settings import override, setting
from maspo.core.shapes import Tokens


@dataclass(frozen=True, kw_only=True)
class GRPO(GatedObjective):
    """PPO's clip on the token ratio, with whatever advantage it is given.

        J = min(ρ A, clip(ρ, 1 - ε_low, 1 + ε_high) A)

    Weight of a token: w = ρ, and 0 where A > 0 with ρ > 1 + ε_high or A < 0 with ρ < 1 - ε_low.
    With A < 0 and ρ > 1 nothing bounds the ratio; `cap` does.

    Source: arXiv:2402.03300. The group-normalised advantage, the KL term and the mean over
    sequences of the paper are axes of their own here.
    """

    title: ClassVar[str] = "GRPO"
    arxiv: ClassVar[str] = "2402.03300"
    radius: ClassVar[str] = "constant ε"
    when_unstable: ClassVar[str] = "lower the learning rate or set cap"

    epsilon_low: float = setting(
        0.2, "ε_low", "how far below 1 a ratio keeps its gradient, with A < 0", low=0
    )
    epsilon_high: float = setting(
        0.2, "ε_high", "how far above 1 a ratio keeps its gradient, with A > 0", low=0
    )

    def width(self, batch: TokenBatch) -> Tokens:
        """Give ε on the token's side of 1, `[batch, time]`."""
        return pick(batch.ratio > 1, self.epsilon_high, self.epsilon_low, batch.ratio)


@dataclass(frozen=True, kw_only=True)
class ClipHigher(GRPO):
    """GRPO with more room upwards, DAPO's clip.

        J = min(ρ A, clip(ρ, 1 - ε_low, 1 + ε_high) A)     ε_low = 0.2, ε_high = 0.28

    Source: arXiv:2503.14476. DAPO's token mean, dynamic sampling and overlong penalty are axes of
    their own.
    """

    title: ClassVar[str] = "Clip-Higher"
    arxiv: ClassVar[str] = "2503.14476"
    sign_asymmetric: ClassVar[bool] = True
    epsilon_high: float = override(GRPO, "epsilon_high", 0.28)


@dataclass(frozen=True, kw_only=True)
class DualClip(GRPO):
    """GRPO with a bound on the side that PPO leaves open.

        J = min(ρ A, clip(ρ, 1 - ε_low, 1 + ε_high) A)     A ≥ 0
            max(min(ρ A, clip(ρ) A), c A)                  A < 0

    Source: arXiv:1912.09729, c = 3 as there and in verl (`clip_ratio_c`); TRL calls c `delta`.
    """

    title: ClassVar[str] = "Dual-clip PPO"
    arxiv: ClassVar[str] = "1912.09729"
    sign_asymmetric: ClassVar[bool] = True
    cap: float | None = override(GRPO, "cap", 3.0)
