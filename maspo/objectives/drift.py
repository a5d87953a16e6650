"""MASPO with a gate that narrows as the policy drifts away from its data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from maspo.core.batch import TokenBatch
from maspo.core.select import only
from maspo.core.settings import setting
from maspo.core.shapes import Tokens
from maspo.objectives.maspo import MASPO


@dataclass(frozen=True, kw_only=True)
class MASPODrift(MASPO):
    """MASPO whose gate is the narrower the farther the policy is from the one that made the data.

        J = sg(F) ρ A                        as MASPO, with s σ in place of σ
        D = Σ max(0, 1 - ρ) / N              over the N tokens with A ≠ 0
        s = min(1, (δ / D)²)

    Weight of a token: w = ρ F. D estimates the total variation between π and π_old at a token, from
    0 to 1: that is E max(0, 1 - ρ) under π_old. Up to δ the gate is MASPO's, which takes next to nothing
    there. Where the policy has moved farther, because its rate is high or its data are stale, the gate
    narrows, and tokens that moved with it are pushed no further. It is never wider than MASPO's; δ = 1 is
    MASPO. δ and the square were chosen on two seeds of the quickstart at a staleness of 16, with s held
    above 0.05; half that δ without the square lost more at the highest rate.

    The sums are over the micro-batch handed in, on all processes, in one exchange; s carries no
    gradient and changes with the size of the micro-batch. Ours, not the paper's: MASPO is
    arXiv:2602.17550. Its race is in docs/studies/stale.
    """

    title: ClassVar[str] = "MASPO, drift-aware"
    radius: ClassVar[str] = "σ of MASPO, times (δ / D)² where the batch has drifted by D > δ"
    couples_batch: ClassVar[bool] = True

    drift: float = setting(
        0.01,
        "δ",
        "total variation from the old policy up to which the gate is MASPO's",
        low=0,
        high=1,
        open_low=True,
    )

    def width(self, batch: TokenBatch) -> Tokens:
        """Give s σ of every token, `[batch, time]`."""
        return super().width(batch) * self.scale(batch)

    def scale(self, batch: TokenBatch) -> Tensor:
        """Measure D and give s, a scalar."""
        live = batch.advantages != 0  # so that rows without a gradient may be left out
        lost = only((1 - batch.ratio).clamp(min=0), live).sum()
        lost, tokens = batch.total(torch.stack([lost, live.sum().to(lost)]))
        allowed = self.drift * tokens
        # Within, the quotient may be without meaning: nothing has moved, or there is no token.
        return torch.where(lost <= allowed, 1, allowed / lost).square()
