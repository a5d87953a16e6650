"""SAPO, soft adaptive policy optimization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from maspo.core.batch import TokenBatch, pick
from maspo.core.objective import GatedObjective
from maspo.core.settings import setting


@dataclass(frozen=True, kw_only=True)
class SAPO(GatedObjective):
    """A sigmoid in place of PPO's clip, on both sides of 1, colder for negative advantages.

        J = (4 / τ) sigmoid(τ (ρ - 1)) A         τ = τ_pos if A > 0 else τ_neg

    Weight of a token: w = ρ sech²(τ (ρ - 1) / 2). J is 2A/τ at ρ = 1, so the size of the loss
    cannot be compared with that of ratio objectives; `two_sided=False` gates only the tokens
    that moved as the advantage asks, as MASPO's paper tries.

    Source: arXiv:2511.20347. verl's implementation always averages per sequence; here the
    reduction is the caller's.
    """

    title: ClassVar[str] = "SAPO"
    arxiv: ClassVar[str] = "2511.20347"
    radius: ClassVar[str] = "1/τ by sign of A"

    tau_pos: float = setting(
        1.0, "τ_pos", "steepness with A > 0, per unit of the ratio", low=0, open_low=True
    )
    tau_neg: float = setting(
        1.05, "τ_neg", "steepness with A <= 0, per unit of the ratio", low=0, open_low=True
    )
    shape: str = setting("sech2", "f", "shape of the gate", choices=("sech2", "gaussian", "hard"))
    two_sided: bool = setting(
        True, "side", "gate also the tokens whose ratio moved against the advantage"
    )

    def width(self, batch: TokenBatch) -> Tensor:
        """Give 1/τ, `[batch, time]`."""
        return pick(batch.advantages > 0, 1 / self.tau_pos, 1 / self.tau_neg, batch.ratio)
