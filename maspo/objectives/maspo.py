"""MASPO, mass-adaptive soft policy optimization."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from maspo.core.batch import TokenBatch
from maspo.core.objective import GatedObjective
from maspo.core.select import choose
from maspo.core.settings import override, setting
from maspo.core.shapes import Tokens
from maspo.errors import InputError


@dataclass(frozen=True, kw_only=True)
class MASPO(GatedObjective):
    """A Gaussian in place of PPO's clip, wider for rare tokens, its width following the advantage.

        J = sg(F) ρ A                            ρ = π / π_old
        F = exp(-(ρ - 1)² / 2σ²)                 if A (ρ - 1) > 0, else 1
        σ = min(σ_base / π_old^α, σ_high) · r
        r = clip(1 + β⁺ A,       a_low, a_high)  if A > 0
            clip(1 / (1 - β⁻ A), a_low, a_high)  if A < 0

    Weight of a token: w = ρ F. The gate carries no gradient (`sg`); through it the weight would
    turn negative beyond ρ = 1.62. On the side A < 0, ρ > 1 nothing bounds the ratio; `cap` does.

    Source: Mass-Adaptive Soft Policy Optimization, arXiv:2602.17550, and the authors' release
    (VenomRose-Juri/MASPO-RL), from which the
    defaults come. The bounds σ_high, a_low and a_high are in the release and not in the paper's
    formula; None for each gives the paper's. The release also bounds σ_base / π_old^α from below
    by σ_base, which cannot bind, and like this one gives no gradient to a token with
    |log ρ| > 20. Its other settings by name: shape="hard" is a clip with MASPO's radius,
    alpha=0 is blind to probability mass, beta_pos=beta_neg=0 to the size of the advantage.
    """

    title: ClassVar[str] = "MASPO"
    arxiv: ClassVar[str] = "2602.17550"
    radius: ClassVar[str] = "σ_base / π_old^α, times the risk factor of A"
    mass_aware: ClassVar[bool] = True
    sign_asymmetric: ClassVar[bool] = True
    when_unstable: ClassVar[str] = "lower alpha or beta_pos and beta_neg"

    sigma_base: float = setting(
        1.0, "σ_base", "width of the gate at π_old = 1, in units of the ratio", low=0, open_low=True
    )
    alpha: float = setting(
        0.3, "α", "how fast the gate widens as π_old falls; 0: equally wide for all", low=0, high=1
    )
    beta_pos: float = setting(0.03, "β⁺", "widening per unit of positive advantage; 0: none", low=0)
    beta_neg: float = setting(
        0.03, "β⁻", "narrowing per unit of negative advantage; 0: none", low=0
    )
    sigma_high: float | None = setting(
        10.0,
        "σ_high",
        "greatest width that rarity may give, in units of the ratio; none: no bound",
        low=0,
        open_low=True,
        optional=True,
    )
    adv_low: float | None = setting(
        0.1,
        "a_low",
        "least factor that the advantage may put on the width; none: no bound",
        low=0,
        optional=True,
    )
    adv_high: float | None = setting(
        10.0,
        "a_high",
        "greatest factor that the advantage may put on the width; none: no bound",
        low=0,
        open_low=True,
        optional=True,
    )
    shape: str = override(GatedObjective, "shape", "gaussian", choices=("gaussian", "hard"))

    def __post_init__(self) -> None:
        """Raise InputError for bounds that contradict each other."""
        super().__post_init__()
        if self.sigma_high is not None and self.sigma_high < self.sigma_base:
            raise InputError(
                f"sigma_high ({self.sigma_high:g}) must not be below sigma_base ({self.sigma_base:g})"
            )
        if (self.adv_low or 0) > (math.inf if self.adv_high is None else self.adv_high):
            raise InputError(
                f"adv_low ({self.adv_low:g}) must not exceed adv_high ({self.adv_high:g})"
            )

    def width(self, batch: TokenBatch) -> Tokens:
        """Give σ of every token, `[batch, time]`."""
        mass = self.sigma_base * torch.exp(-self.alpha * batch.old_log_probs)
        if self.sigma_high is not None:
            mass = mass.clamp(max=self.sigma_high)
        advantages = batch.advantages
        risk = choose(
            advantages > 0, 1 + self.beta_pos * advantages, 1 / (1 - self.beta_neg * advantages)
        )
        if self.adv_low is not None or self.adv_high is not None:
            risk = risk.clamp(self.adv_low, self.adv_high)
        return mass * risk

    def advice(self, parameters: int | None = None) -> list[str]:
        """Apply what the release's README says of its settings."""
        said = []
        if self.alpha >= 0.8:
            said.append(
                f"alpha = {self.alpha:g}: the authors saw instability from 0.8 on; 0.3 to 0.5 is advised"
            )
        elif self.alpha > 0.5 or 0 < self.alpha < 0.3:
            said.append(f"alpha = {self.alpha:g} is outside the 0.3 to 0.5 the authors advise")
        if parameters is not None and 1e9 <= parameters < 3e9 and self.alpha != 0.5:
            said.append(
                f"alpha = {self.alpha:g}: the authors use 0.5 for models of about 1.5B parameters"
            )
        return said
