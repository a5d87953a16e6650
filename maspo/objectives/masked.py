"""Ratio objectives that drop the tokens which moved too far, by three measures of too far."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from maspo.core.batch import TokenBatch
from maspo.core.objective import ADVANTAGE_SIDE, Objective, Outline, Terms
from maspo.core.select import only
from maspo.core.settings import setting
from maspo.core.shapes import Mask


@dataclass(frozen=True, kw_only=True)
class MaskedObjective(Objective):
    """What they share: J = ρ A for the tokens kept, 0 for the others.

    Weight of a token: w = ρ where it is kept, else 0. A mask is constant: no gradient runs through it.
    """

    def form(self) -> Outline:
        """See the base class."""
        return Outline(gate="hard")

    @abstractmethod
    def keeps(self, batch: TokenBatch) -> Mask:
        """Return which tokens keep their gradient, bool `[batch, time]`."""

    def token_terms(self, batch: TokenBatch) -> Terms:
        """See the class."""
        weights = batch.intact(only(batch.ratio, self.keeps(batch)))
        return Terms(weights=weights, surrogate=weights * batch.advantages)


@dataclass(frozen=True, kw_only=True)
class IPO(MaskedObjective):
    """A mask on how far the token's probability moved, whatever the sign of the advantage.

        J = ρ A 1[|π - π_old| ≤ ε]

    Weight of a token: w = min(ρ, w_max) where |π - π_old| ≤ ε, else 0. A token with π_old < ε is dropped
    for having risen, never for having fallen.

    Source: the INTELLECT policy optimization that prime-rl trains with by default, a variant of DPPO
    (arXiv:2602.04879) without its look at the sign. π_old is there the policy that sampled. ε = 0.3
    is its documentation's; it was 0.1 when the loss was merged. Its optional term τ (log ρ)² is the
    pull of `DRO` with β = 2τ, and no part of this.
    """

    title: ClassVar[str] = "IPO"
    arxiv: ClassVar[str] = "2602.04879"
    radius: ClassVar[str] = "|π - π_old| ≤ ε"
    mass_aware: ClassVar[bool] = True

    epsilon: float = setting(
        0.3, "ε", "how far π may be from π_old, a probability", low=0, high=1, open_low=True
    )
    weight_cap: float | None = setting(
        1e4, "w_max", "greatest weight, for both signs; none: no bound", low=1, optional=True
    )

    def keeps(self, batch: TokenBatch) -> Mask:
        """Return where π is near enough to π_old."""
        return (batch.log_probs.exp() - batch.old_log_probs.exp()).abs() <= self.epsilon

    def token_terms(self, batch: TokenBatch) -> Terms:
        """See the class."""
        terms = super().token_terms(batch)
        weights = terms.weights.clamp(max=self.weight_cap)
        return Terms(weights=weights, surrogate=weights * batch.advantages)


@dataclass(frozen=True, kw_only=True)
class IcePop(MaskedObjective):
    """A mask on the ratio, on both sides, whatever the sign of the advantage.

        J = ρ A 1[a ≤ ρ ≤ b]

    Weight of a token: w = ρ inside [a, b], else 0.

    Source: arXiv:2510.18855, where the ratio is that of trainer and sampler for one policy, beside PPO's
    clip; as an objective, with a = 0.2 and b = 5, prime-rl has it. `rollout_weights` has the first.
    """

    title: ClassVar[str] = "IcePop"
    arxiv: ClassVar[str] = "2510.18855"
    radius: ClassVar[str] = "a ≤ ρ ≤ b"

    low: float = setting(0.2, "a", "least ratio that keeps its gradient", low=0, high=1)
    high: float = setting(5.0, "b", "greatest ratio that keeps its gradient", low=1)

    def keeps(self, batch: TokenBatch) -> Mask:
        """Return where the ratio is inside the bounds."""
        return (batch.ratio >= self.low) & (batch.ratio <= self.high)


@dataclass(frozen=True, kw_only=True)
class CPPO(MaskedObjective):
    """A mask with a budget: the further the tokens before have moved, the less a token may.

        J = ρ A M
        M = 1 if A (ρ - 1) ≤ 0 or w_t D_t ≤ min(δ, δ + b W_{t-1} - S_{t-1}), else 0
        D_t = |π - π_old|             w_t = 1 - (1 - w_min)(t - 1) / (T - 1)
        S_t = Σ_{k≤t} w_k D_k         W_t = Σ_{k≤t} w_k
        b = clip(90th percentile of D_1 ... D_T, b_min, 2 b_min)

    Weight of a token: w = ρ M. t counts the tokens of the response, T is their number. An early token
    counts fully, the last one w_min: what is early shifts all that follows.

    Source: arXiv:2606.10968, equations 8 to 11 and 22, with δ = 0.15 of its dense models (0.2 for its
    mixture of experts). π_old is there the policy that sampled. The authors' pull request to verl also
    bounds the weight at 20, which `weight_cap` does, and lets b reach 5 b_min.
    """

    title: ClassVar[str] = "CPPO"
    arxiv: ClassVar[str] = "2606.10968"
    radius: ClassVar[str] = "|π - π_old| ≤ δ, less what the prefix spent"
    mass_aware: ClassVar[bool] = True

    delta: float = setting(
        0.15, "δ", "how far π may be from π_old, a probability", low=0, high=1, open_low=True
    )
    last_weight: float = setting(
        0.8, "w_min", "weight of the last token; 1: all count alike", low=0, high=1, open_low=True
    )
    budget: float = setting(
        0.02, "b_min", "least mean distance that the prefix may have, a probability", low=0, high=1
    )

    def form(self) -> Outline:
        """See the base class."""
        return Outline(gate="hard", side=ADVANTAGE_SIDE)

    def keeps(self, batch: TokenBatch) -> Mask:
        """Return the tokens that move back, and those that their budget allows."""
        distance = (batch.log_probs.exp() - batch.old_log_probs.exp()).abs()
        place = batch.mask.cumsum(1) - 1
        last = (batch.lengths - 1).clamp(min=1)
        weight = only(1 - (1 - self.last_weight) * place / last.to(distance.dtype), batch.mask)
        spent = weight * distance
        allowed = self._budget(distance, batch.mask) * before(weight) - before(spent)
        back = batch.advantages * (batch.ratio - 1) <= 0
        return back | (spent <= self.delta + allowed.clamp(max=0))

    def _budget(self, distance: Tensor, mask: Tensor) -> Tensor:
        """Return b of each sequence, `[batch, 1]`."""
        known = distance.masked_fill(~mask, torch.nan)
        p90 = torch.nanquantile(known, 0.9, dim=1, keepdim=True).nan_to_num(nan=0.0)
        return p90.clamp(self.budget, 2 * self.budget)


def before(x: Tensor) -> Tensor:
    """Sum `x`, `[batch, time]`, over the places before each."""
    return x.cumsum(1) - x
