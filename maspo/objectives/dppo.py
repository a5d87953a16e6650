"""DPPO: a clip on how far a probability moved, not on its ratio."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch

from maspo.core.batch import TokenBatch
from maspo.core.objective import ADVANTAGE_SIDE, LogProbObjective, Outline
from maspo.core.select import only
from maspo.core.settings import setting
from maspo.core.shapes import Tokens

TINY = 1e-8
"""Added to probabilities inside a logarithm, as in verl."""


@dataclass(frozen=True, kw_only=True)
class DPPO(LogProbObjective):
    """What both variants share: J = sg(min(ρ, w_max) M) A log π.

    M = 0 for a token whose probability moved as A asks and further than the divergence allows.
    """

    arxiv: ClassVar[str] = "2602.04879"
    reduction: ClassVar[str] = "seq-mean-token-sum-norm"
    mass_aware: ClassVar[bool] = True

    # `cap` acts with A < 0 alone; this bound holds for both signs.
    weight_cap: float | None = setting(
        20.0, "w_max", "greatest weight, for both signs; none: no bound", low=1, optional=True
    )

    def form(self) -> Outline:
        """See the base class."""
        return Outline(gate="hard", side=ADVANTAGE_SIDE)

    @abstractmethod
    def divergence(self, batch: TokenBatch) -> Tokens:
        """Give how far a token moved from π_old, at least 0, `[batch, time]`."""

    @abstractmethod
    def limits(self) -> tuple[float, float]:
        """Give the greatest divergence downwards, with A < 0, and upwards, with A > 0."""

    def weight(self, batch: TokenBatch) -> Tokens:
        """Give the bounded ratio of the tokens within the limits, 0 for the others."""
        low, high = self.limits()
        divergence, moved = self.divergence(batch), batch.log_ratio
        left = (batch.advantages > 0) & (moved > 0) & (divergence > high)
        left |= (batch.advantages <= 0) & (moved < 0) & (divergence > low)
        return only(batch.ratio.clamp(max=self.weight_cap), ~left)


@dataclass(frozen=True, kw_only=True)
class DPPOTV(DPPO):
    """A clip on the change of the token's probability, its total variation.

        J = sg(min(ρ, w_max) M) A log π
        M = 0 if A > 0 and π - π_old > δ_high, or A < 0 and π_old - π > δ_low, else 1

    Weight of a token: w = min(ρ, w_max) M. A token with π_old < δ_low is never stopped with A < 0.

    Source: arXiv:2602.04879, δ = 0.15. The authors' code (sail-sg/Stable-RL) measures from the policy
    that sampled, with w_max = 10, and has variants over the top k tokens, which need their logits; verl,
    like this one, measures from π_old, with w_max = 20 in the function, 3 by its configuration and 10000
    in its example, and takes δ from `clip_ratio`.
    """

    title: ClassVar[str] = "DPPO-TV"
    radius: ClassVar[str] = "|π - π_old| ≤ δ"

    delta_low: float = setting(
        0.15, "δ_low", "how far π may fall below π_old, with A < 0, a probability", low=0, high=1
    )
    delta_high: float = setting(
        0.15, "δ_high", "how far π may rise above π_old, with A > 0, a probability", low=0, high=1
    )

    def divergence(self, batch: TokenBatch) -> Tokens:
        """Give |π - π_old|."""
        return (batch.log_probs.exp() - batch.old_log_probs.exp()).abs()

    def limits(self) -> tuple[float, float]:
        """Give δ."""
        return self.delta_low, self.delta_high


@dataclass(frozen=True, kw_only=True)
class DPPOKL(DPPO):
    """A clip on the divergence of "this token or another", its binary KL.

        J = sg(min(ρ, w_max) M) A log π
        M = 0 if A > 0, π > π_old and K > δ_high, or A < 0, π < π_old and K > δ_low, else 1
        K = π_old log(π_old / π) + (1 - π_old) log((1 - π_old + 1e-8) / (1 - π + 1e-8))

    Weight of a token: w = min(ρ, w_max) M.

    Source: arXiv:2602.04879, δ = 0.05, and verl, from which the 1e-8 is. What `DPPOTV` says of
    anchor and w_max holds here too. Where `clip_ratio` is left at 0.2, verl's δ is 0.2, four times as
    wide.
    """

    title: ClassVar[str] = "DPPO-KL"
    radius: ClassVar[str] = "binary KL ≤ δ"

    delta_low: float = setting(
        0.05, "δ_low", "greatest divergence of a falling token, with A < 0, in nats", low=0
    )
    delta_high: float = setting(
        0.05, "δ_high", "greatest divergence of a rising token, with A > 0, in nats", low=0
    )

    def divergence(self, batch: TokenBatch) -> Tokens:
        """Give K, in nats."""
        # A log-probability rounded to just above 0 would make the logarithm NaN.
        p, q = (x.clamp(max=0).exp_() for x in (batch.log_probs, batch.old_log_probs))
        other = (1 - q) * torch.log((1 - q + TINY) / (1 - p + TINY))
        return other - q * batch.log_ratio

    def limits(self) -> tuple[float, float]:
        """Give δ."""
        return self.delta_low, self.delta_high
