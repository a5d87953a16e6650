"""DGPO, a clip whose weights decay by a power."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from maspo.core.batch import TokenBatch
from maspo.core.gates import Gated
from maspo.core.objective import GatedObjective
from maspo.core.select import choose, pick
from maspo.core.settings import override, setting
from maspo.core.shapes import Tokens


@dataclass(frozen=True, kw_only=True)
class DGPO(GatedObjective):
    """A power of ρ over its bound in place of PPO's clip.

        J = sg((ρ / (1 - ε_low))^n) ρ A            if A < 0 and ρ < 1 - ε_low
            sg(((1 + ε_high) / ρ)^(1/m)) ρ A       if A > 0 and ρ > 1 + ε_high
            ρ A                                    else

    Weight of a token: w = J / A, continuous at both bounds. On the side A < 0, ρ > 1 nothing bounds
    the ratio; `cap` does.

    Source: arXiv:2603.14389 and the authors' release (VenomRose-Juri/DGPO-RL), which does not bound
    the log ratio inside the two powers; here |log ρ| > D has no gradient anywhere.
    """

    title: ClassVar[str] = "DGPO"
    arxiv: ClassVar[str] = "2603.14389"
    radius: ClassVar[str] = "constant ε"
    sign_asymmetric: ClassVar[bool] = True

    epsilon_low: float = setting(
        0.2, "ε_low", "how far below 1 a ratio keeps its own weight, with A < 0", low=0, high=1
    )
    epsilon_high: float = setting(
        0.2, "ε_high", "how far above 1 a ratio keeps its own weight, with A > 0", low=0
    )
    n: float = setting(1.0, "n", "power of the decay below 1 - ε_low; 0: none", low=0)
    m: float = setting(2.0, "m", "root of the decay above 1 + ε_high", low=0, open_low=True)
    shape: str = override(GatedObjective, "shape", "power", choices=("power",))

    def width(self, batch: TokenBatch) -> Tokens:
        """Give ε on the token's side of 1, `[batch, time]`."""
        return pick(batch.ratio > 1, self.epsilon_high, self.epsilon_low, batch.ratio)

    def gate(self, batch: TokenBatch, width: Tokens) -> Gated:
        """Let the weight decay beyond the bound, by the power of its side."""
        ratio, high = batch.ratio, batch.ratio > 1
        excess = choose(high, (1 + width) / ratio, ratio / (1 - width))
        decay = excess.clamp(max=1) ** pick(high, 1 / self.m, self.n, ratio)
        return Gated(ratio * decay, ratio * decay)
