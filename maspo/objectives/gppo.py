"""GPPO and CE-GPPO: a clip that keeps the gradient of the tokens it holds."""

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
class CEGPPO(GatedObjective):
    """A clip whose clipped tokens keep a constant weight, by direction.

        J = β₁ (1 - ε_low) ρ/sg(ρ) A      if A < 0 and ρ < 1 - ε_low
            β₂ (1 + ε_high) ρ/sg(ρ) A     if A > 0 and ρ > 1 + ε_high
            ρ A                           else, and no gradient with A < 0 and ρ > c

    Weight of a token: w = β₁ (1 - ε_low), β₂ (1 + ε_high) or ρ. β₁ = β₂ = 0 gives the gradient of
    PPO, 1 that of GPPO.

    Source: arXiv:2509.20712, Eq. 8, with β₁ = 0.5 as for its 1.5B model (0.75 for 7B), β₂ = 1,
    c = 10; the paper's prose swaps the roles of β₁ and β₂. The authors' function
    (Kwai-Klear/CE-GPPO) has β₁ = 0.25 by default, their README 0.75: see `CEGPPOReleased`. Their code
    does not bound the log ratio.
    """

    title: ClassVar[str] = "CE-GPPO"
    arxiv: ClassVar[str] = "2509.20712"
    radius: ClassVar[str] = "constant ε"
    sign_asymmetric: ClassVar[bool] = True

    epsilon_low: float = setting(
        0.2, "ε_low", "how far below 1 a ratio keeps its own weight, with A < 0", low=0, high=1
    )
    epsilon_high: float = setting(
        0.2, "ε_high", "how far above 1 a ratio keeps its own weight, with A > 0", low=0
    )
    beta1: float = setting(0.5, "β₁", "share of 1 - ε_low kept below it; 0: no gradient", low=0)
    beta2: float = setting(1.0, "β₂", "share of 1 + ε_high kept above it; 0: no gradient", low=0)
    shape: str = override(GatedObjective, "shape", "constant", choices=("constant",))
    cap: float | None = override(GatedObjective, "cap", 10.0)

    def width(self, batch: TokenBatch) -> Tokens:
        """Give ε on the token's side of 1, `[batch, time]`."""
        return pick(batch.ratio > 1, self.epsilon_high, self.epsilon_low, batch.ratio)

    def gate(self, batch: TokenBatch, width: Tokens) -> Gated:
        """Hold the weight at its share of the bound that the ratio has passed."""
        high, low = self.beta2 * (1 + self.epsilon_high), self.beta1 * (1 - self.epsilon_low)
        kept = pick(batch.ratio > 1, high, low, batch.ratio)
        weight = choose((batch.ratio - 1).abs() <= width, batch.ratio, kept)
        return Gated(weight, weight)


@dataclass(frozen=True, kw_only=True)
class CEGPPOReleased(CEGPPO):
    """CE-GPPO with the defaults of the authors' function.

        J as in CE-GPPO     β₁ = 0.25, β₂ = 1

    Source: arXiv:2509.20712, compute_gppo_loss_general_beta of Kwai-Klear/CE-GPPO; the paper has
    β₁ = 0.5 and 0.75.
    """

    title: ClassVar[str] = "CE-GPPO, as released"
    beta1: float = override(CEGPPO, "beta1", 0.25)


@dataclass(frozen=True, kw_only=True)
class GPPO(CEGPPO):
    """A clip whose clipped tokens keep the weight of the bound.

        J = (1 - ε_low) ρ/sg(ρ) A      if A < 0 and ρ < 1 - ε_low
            (1 + ε_high) ρ/sg(ρ) A     if A > 0 and ρ > 1 + ε_high
            ρ A                        else, and no gradient with A < 0 and ρ > c

    Weight of a token: w = clip(ρ, 1 - ε_low, 1 + ε_high) on the side that A asks for, else ρ.

    Source: arXiv:2508.07629; ε = 0.2 and c = 10 from the code of its successor CE-GPPO
    (Kwai-Klear/CE-GPPO), whose `compute_gppo_loss` stops with a NameError: `only_higher` is read,
    the argument is called `only_high`.
    """

    title: ClassVar[str] = "GPPO"
    arxiv: ClassVar[str] = "2508.07629"
    sign_asymmetric: ClassVar[bool] = False
    beta1: float = override(CEGPPO, "beta1", 1.0)
