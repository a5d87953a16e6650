"""ASPO, asymmetric importance sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from maspo.core.batch import TokenBatch
from maspo.core.objective import ADVANTAGE_SIDE, Objective, Outline, Terms
from maspo.core.select import choose, only, pick
from maspo.core.settings import setting


@dataclass(frozen=True, kw_only=True)
class ASPO(Objective):
    """PPO's clip with the ratio turned over where A > 0: tokens that lag behind weigh most.

        J = ρ A if A < 0 else ρ/sg(ρ²) A
            held at (1 - ε) A         where A < 0 and ρ < 1 - ε
            held at A / (1 + ε)       where A ≥ 0 and ρ > 1 + ε
            w_max A log π             where the factor on A is above w_max
        ε = ε_rare for the tokens of highest entropy in their sequence, else ε_common

    Weight of a token: w = min(ρ, w_max) with A < 0, min(1/ρ, w_max) else, and 0 where J is held.

    Source: arXiv:2510.06062. In the authors' code (wizard-III/Archer2.0) the argument
    `high_entropy_mask` selects the tokens of low entropy, up to the quantile 0.8, so that it does what
    the paper says; the reduction is always the token mean. KL is added there to tokens of low entropy
    only, which is not part of this.
    """

    title: ClassVar[str] = "ASPO"
    arxiv: ClassVar[str] = "2510.06062"
    radius: ClassVar[str] = "ε by entropy"
    sign_asymmetric: ClassVar[bool] = True
    inputs: ClassVar[tuple[str, ...]] = ("entropies",)

    epsilon_common: float = setting(
        0.2, "ε_common", "radius of the tokens of low entropy, in units of the ratio", low=0, high=1
    )
    epsilon_rare: float = setting(
        0.4,
        "ε_rare",
        "radius of the tokens of high entropy, in units of the ratio; ε_common: no difference",
        low=0,
        high=1,
    )
    quantile: float = setting(
        0.8, "quantile", "share of a sequence that counts as of low entropy", low=0, high=1
    )
    # `cap` compares with ρ and acts with A < 0 alone; this bound is on 1/ρ too.
    weight_cap: float | None = setting(
        3.0, "w_max", "greatest weight, for both signs; none: no bound", low=1, optional=True
    )

    def form(self) -> Outline:
        """See the base class."""
        return Outline(gate="hard, 1/ρ with A > 0", side=ADVANTAGE_SIDE)

    def token_terms(self, batch: TokenBatch) -> Terms:
        """See the class."""
        ratio, turned = batch.ratio, batch.advantages >= 0
        epsilon = pick(self.common(batch), self.epsilon_common, self.epsilon_rare, ratio)
        value = choose(turned, 1 / ratio, ratio)
        bound = choose(turned, 1 / (1 + epsilon), 1 - epsilon)
        left = value < bound
        weight = only(value, ~(left | batch.broken))
        value = choose(left, bound, value)
        if self.weight_cap is not None:
            beyond = value > self.weight_cap
            weight = choose(beyond, weight.new_tensor(self.weight_cap), weight)
            value = choose(beyond, self.weight_cap * batch.log_probs, value)
        return Terms(weights=weight, surrogate=value * batch.advantages, ratios=ratio)

    def common(self, batch: TokenBatch) -> Tensor:
        """Whether a token's entropy is within the quantile of its sequence, bool `[batch, time]`."""
        assert batch.entropies is not None  # `inputs`
        ranked = batch.entropies.masked_fill(~batch.mask, torch.inf).sort(1).values
        last = (self.quantile * (batch.lengths - 1).double()).floor().long()
        return batch.entropies <= ranked.gather(1, last)
