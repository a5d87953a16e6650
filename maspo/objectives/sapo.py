"""SAPO, soft adaptive policy optimization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from maspo.core.batch import TokenBatch
from maspo.core.objective import GatedObjective
from maspo.core.select import pick
from maspo.core.settings import override, setting
from maspo.core.shapes import Tokens


@dataclass(frozen=True, kw_only=True)
class SAPO(GatedObjective):
    """A sigmoid in place of PPO's clip, on both sides of 1, colder for negative advantages.

        J = (4 / τ) sigmoid(τ (ρ - 1)) A         τ = τ_pos if A > 0 else τ_neg

    Weight of a token: w = ρ sech²(τ (ρ - 1) / 2). J is 2A/τ at ρ = 1, so the size of the loss
    cannot be compared with that of ratio objectives.

    Source: arXiv:2511.20347. verl's implementation always averages per sequence; here the
    reduction is the caller's.
    """

    title: ClassVar[str] = "SAPO"
    arxiv: ClassVar[str] = "2511.20347"
    radius: ClassVar[str] = "1/τ by sign of A"
    sign_asymmetric: ClassVar[bool] = True

    tau_pos: float = setting(
        1.0, "τ_pos", "steepness with A > 0, per unit of the ratio", low=0, open_low=True
    )
    tau_neg: float = setting(
        1.05, "τ_neg", "steepness with A <= 0, per unit of the ratio", low=0, open_low=True
    )
    shape: str = override(GatedObjective, "shape", "sech2")
    two_sided: bool = override(GatedObjective, "two_sided", True)

    def width(self, batch: TokenBatch) -> Tokens:
        """Give 1/τ, `[batch, time]`."""
        return pick(batch.advantages > 0, 1 / self.tau_pos, 1 / self.tau_neg, batch.ratio)


@dataclass(frozen=True, kw_only=True)
class SAPOOneSided(SAPO):
    """SAPO that leaves alone the tokens whose ratio moved against the advantage.

        J = (4 / τ) sigmoid(τ (ρ - 1)) A         if A (ρ - 1) > 0, else ρ A

    Weight of a token: w = ρ sech²(τ (ρ - 1) / 2), or ρ where the policy has to come back. Shows what
    SAPO's second side does, as in MASPO's paper. J jumps from A to 2A/τ at ρ = 1, its slope does not.

    Source: arXiv:2511.20347 for the gate; one-sided in arXiv:2602.17550.
    """

    title: ClassVar[str] = "SAPO, one-sided"
    two_sided: bool = override(SAPO, "two_sided", False)
