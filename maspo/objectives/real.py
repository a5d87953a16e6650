"""REAL, which takes rewards for labels and ratios for scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from maspo.core.batch import TokenBatch
from maspo.core.objective import Outline, SequenceObjective, Terms
from maspo.core.select import only
from maspo.core.settings import setting


@dataclass(frozen=True, kw_only=True)
class REAL(SequenceObjective):
    """Classification within a group: the sign of A is the label, the mean log ratio the score.

        J = -log(1 + Σ_neg exp(s / τ)) - log(1 + Σ_pos exp(-s / τ))      s = 1/|o| Σ log(π / π_old)

    The sums are over the responses of the group with A < 0 and with A > 0; J belongs to the group and
    stands at each token of its n responses, so that seq-mean-token-mean is the paper's mean over groups.
    Slope of a token: n p / τ with A > 0 and -n p / τ with A < 0, where
    p = exp(z) / (1 + Σ exp(z)), z = -sign(A) s / τ, over the responses of the same sign: it is bounded
    by n / τ however far s goes, and a response that is told apart already fades out of it. The size
    of A has no part in it, and w = n p / (τ |A|).

    A response with A = 0 has no label, and counts in n alone; so a group of equal rewards teaches
    nothing here. Needs whole groups; the TRL engine deals them so.

    Source: arXiv:2602.05630.
    """

    title: ClassVar[str] = "REAL"
    arxiv: ClassVar[str] = "2602.05630"
    radius: ClassVar[str] = "τ on the sequence's mean log ratio"
    couples_batch: ClassVar[bool] = True
    needs_dead_rows: ClassVar[bool] = True
    inputs: ClassVar[tuple[str, ...]] = ("groups",)
    reduction: ClassVar[str] = "seq-mean-token-mean"

    tau: float = setting(
        0.5, "τ", "temperature of the score, in nats a token", low=0, open_low=True
    )

    def form(self) -> Outline:
        """See the base class."""
        return Outline(level="sequence", gate="softmax of the group")

    def token_terms(self, batch: TokenBatch) -> Terms:
        """See the class."""
        assert batch.groups is not None  # `inputs`
        together = batch.groups[:, None] == batch.groups
        pooled, written = batch.pooled(), batch.mask.any(1)
        drift = batch.sequence_mean(batch.log_ratio)[:, 0]
        drift = drift.clamp(-self.max_log_ratio, self.max_log_ratio)
        sign = batch.sequence_mean(batch.advantages)[:, 0].sign()
        scores = -sign * drift / self.tau
        size = (together & written).sum(1)
        losses = {
            side: log_one_plus(scores, together & written & (sign == side)) for side in (-1, 1)
        }
        own = torch.where(sign > 0, losses[1], losses[-1])
        slopes = size * (scores - own).exp() / self.tau
        weights = batch.spread(slopes[:, None]) / batch.advantages.abs()
        return Terms(
            weights=pooled.intact(only(weights, batch.advantages != 0)),
            surrogate=batch.spread(-(losses[-1] + losses[1])[:, None]),
            ratios=pooled.ratio,
        )


def log_one_plus(scores: Tensor, chosen: Tensor) -> Tensor:
    """Give log(1 + Σ exp(score)) over the chosen, `[batch]`; `chosen` is bool `[batch, batch]`."""
    masked = scores.expand(chosen.shape).masked_fill(~chosen, -torch.inf)
    return torch.cat([masked, masked.new_zeros(len(masked), 1)], dim=1).logsumexp(1)
