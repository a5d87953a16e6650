"""DAC, the dynamic adaptive clipping of DCPO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from maspo.core.batch import TokenBatch
from maspo.core.objective import GatedObjective
from maspo.core.select import choose
from maspo.core.settings import override, setting
from maspo.core.shapes import Tokens


@dataclass(frozen=True, kw_only=True)
class DAC(GatedObjective):
    """PPO's clip with bounds that open as π_old falls.

        J = min(ρ A, clip(ρ, lo, hi) A), and no gradient with A < 0 and ρ > c
        lo = 1/2 + 1/2 √max(1 - 4 ε_low / π_old, 0)
        hi = min(1/2 + 1/2 √(1 + 4 ε_high / π_old), r_max)

    from |ρ - 1| ρ π_old ≤ ε. Weight of a token: w = ρ inside the bounds, else 0. lo is 1/2 for all
    tokens with π_old ≤ 4 ε_low.

    Source: arXiv:2509.02333, with its ε = 0.16 and 0.2 and its r_max = 10 for both signs. The
    authors' function (lime-RL/DCPO) has defaults 0.1 and 0.2, its script other values: see
    `DACReleased`. There lo becomes 1 where π_old underflows to 0, here it stays 1/2. The paper's
    smoothed advantage is the estimator `sas` here, which needs the history of the prompts. Its mean
    within each response, which the code takes over the micro-batch, is seq-mean-token-mean times the
    number of responses.
    """

    title: ClassVar[str] = "DAC"
    arxiv: ClassVar[str] = "2509.02333"
    radius: ClassVar[str] = "|ρ - 1| ρ π_old ≤ ε"
    reduction: ClassVar[str] = "seq-mean-token-mean"
    mass_aware: ClassVar[bool] = True
    sign_asymmetric: ClassVar[bool] = True

    epsilon_low: float = setting(
        0.16, "ε_low", "bound on (1 - ρ) ρ π_old, a probability", low=0, open_low=True
    )
    epsilon_high: float = setting(
        0.2, "ε_high", "bound on (ρ - 1) ρ π_old, a probability", low=0, open_low=True
    )
    r_max: float = setting(
        10.0, "r_max", "greatest upper bound on the ratio, for rare tokens", low=1, open_low=True
    )
    cap: float | None = override(GatedObjective, "cap", 10.0)

    def width(self, batch: TokenBatch) -> Tokens:
        """Give 1 - lo below 1 and hi - 1 above, `[batch, time]`."""
        rarity = torch.exp(-batch.old_log_probs)
        low = 0.5 - 0.5 * (1 - 4 * self.epsilon_low * rarity).clamp(min=0).sqrt()
        high = 0.5 * (1 + 4 * self.epsilon_high * rarity).sqrt() - 0.5
        return choose(batch.ratio > 1, high.clamp(max=self.r_max - 1), low)


@dataclass(frozen=True, kw_only=True)
class DACReleased(DAC):
    """DAC with the values of the script that the authors ship.

        J = min(ρ A, clip(ρ, lo, hi) A)     ε_low = 0.2, ε_high = 0.28, r_max = c = 10

    Source: arXiv:2509.02333, recipe/dcpo/run_dcpo.sh of lime-RL/DCPO; the paper has 0.16 and 0.2.
    """

    title: ClassVar[str] = "DAC, as released"
    epsilon_low: float = override(DAC, "epsilon_low", 0.2)
    epsilon_high: float = override(DAC, "epsilon_high", 0.28)
