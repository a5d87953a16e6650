"""Entropy Advantage: uncertain tokens are worth more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from maspo.core.batch import TokenBatch
from maspo.core.objective import Terms
from maspo.core.select import choose
from maspo.core.settings import setting
from maspo.objectives.grpo import ClipHigher


@dataclass(frozen=True, kw_only=True)
class EntropyAdvantage(ClipHigher):
    """Clip-Higher with an advantage that grows with the entropy at the token.

        J  = min(ρ A', clip(ρ, 1 - ε_low, 1 + ε_high) A')
        A' = A + min(α H, |A| / κ)               H: entropy of the policy, in nats, without gradient

    Weight of a token: w = ρ A'/A, and 0 where PPO's clip stops it. With κ ≥ 1 the sign stays; the
    bonus is positive for both signs, so advantages of a group no longer add up to 0.

    Source: arXiv:2506.14758, with its α = 0.4 for GRPO (0.1 for PPO) and κ = 2. The lines printed in
    the paper add the bonus in place, so a second pass over the same advantages adds it again; here
    each pass starts from A. H is that of the current policy, and changes with every update.
    """

    title: ClassVar[str] = "Entropy Advantage"
    arxiv: ClassVar[str] = "2506.14758"
    inputs: ClassVar[tuple[str, ...]] = ("entropies",)

    alpha: float = setting(0.4, "α", "advantage per nat of entropy; 0: no bonus", low=0)
    kappa: float = setting(2.0, "κ", "the bonus is at most |A| / κ", low=1)

    def token_terms(self, batch: TokenBatch) -> Terms:
        """See the class."""
        assert batch.entropies is not None  # `inputs`
        given = batch.advantages
        bonus = torch.minimum(self.alpha * batch.entropies, given.abs() / self.kappa)
        terms = super().token_terms(replace(batch, advantages=given + bonus))
        growth = choose(given == 0, given.new_ones(()), 1 + bonus / given)
        return replace(terms, weights=terms.weights * growth)
