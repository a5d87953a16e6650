"""VESPO, a gamma-shaped weight on the ratio of the whole sequence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from maspo.core.batch import TokenBatch
from maspo.core.objective import LogProbObjective, Outline, Terms
from maspo.core.select import pick
from maspo.core.settings import setting
from maspo.core.shapes import Tokens


@dataclass(frozen=True, kw_only=True)
class VESPO(LogProbObjective):
    """REINFORCE, each sequence weighted by how probable the policy makes it against the old one.

        J = sg(φ(W)) A log π                     φ(W) = W^k exp(λ (1 - W))
        W = Π π / π_old                          (k, λ) by the sign of A

    Weight of a token: w = φ(W), the same along a sequence. φ(1) = 1, and the peak lies at W = k / λ:
    1.21 at 2/3 with A ≥ 0, 1.24 at 3/2 with A < 0. W is a product without normalisation by
    length: a sequence of 1000 tokens that each drift by 1% has W = e^±10 and no weight left, so long
    sequences need updates that stay close to π_old. The sign is that of the mean advantage of the
    sequence; A itself may differ by token.

    Source: arXiv:2602.10693; the defaults are those of the authors' recipe (FloyedShen/VESPO) and of
    TRL, while the docstring of the recipe names others. As there log ρ of a token and log W are
    held, at ± `max_log_ratio`; they hold log W at log 1e-8 from below, where φ is below 1e-14.
    They read the sign off column 0. They also multiply rollout weights into W: give log π_old of
    the engine that sampled, or log π_old - log v, as `old_log_probs` for that; `rollout_weights`
    multiply tokens here, as with every objective.
    """

    title: ClassVar[str] = "VESPO"
    arxiv: ClassVar[str] = "2602.10693"
    radius: ClassVar[str] = "k and λ by sign of A"
    sign_asymmetric: ClassVar[bool] = True

    k_pos: float = setting(
        2.0, "k⁺", "power of W with A >= 0; 0: sequences that became rare keep their weight", low=0
    )
    lambda_pos: float = setting(3.0, "λ⁺", "decay per unit of W with A >= 0", low=1e-4)
    k_neg: float = setting(
        3.0, "k⁻", "power of W with A < 0; 0: sequences that became rare keep their weight", low=0
    )
    lambda_neg: float = setting(2.0, "λ⁻", "decay per unit of W with A < 0", low=1e-4)

    def form(self) -> Outline:
        """See the base class."""
        return Outline(level="sequence (product)", gate="gamma")

    def log_sequence_ratio(self, batch: TokenBatch) -> Tensor:
        """Give log W, `[batch, 1]`, held at ± `max_log_ratio`."""
        bound = self.max_log_ratio
        return batch.log_ratio.clamp(-bound, bound).sum(1, keepdim=True).clamp_(-bound, bound)

    def weight(self, batch: TokenBatch) -> Tokens:
        """Give φ(W), `[batch, time]`."""
        log_w = self.log_sequence_ratio(batch)
        negative = batch.sequence_mean(batch.advantages) < 0
        k = pick(negative, self.k_neg, self.k_pos, log_w)
        decay = pick(negative, self.lambda_neg, self.lambda_pos, log_w)
        return batch.spread(torch.exp(k * log_w + decay * (1 - log_w.exp())))

    def token_terms(self, batch: TokenBatch) -> Terms:
        """See the class."""
        return replace(
            super().token_terms(batch), ratios=batch.spread(self.log_sequence_ratio(batch).exp())
        )
