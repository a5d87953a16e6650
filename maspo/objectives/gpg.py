"""GPG, the policy gradient without a ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from maspo.core.batch import TokenBatch
from maspo.core.objective import LogProbObjective, Outline
from maspo.core.shapes import Tokens


@dataclass(frozen=True, kw_only=True)
class GPG(LogProbObjective):
    """The plain policy gradient: nothing corrects for an old policy.

        J = A log π

    Weight of a token: w = 1.

    Source: arXiv:2504.02546. Its advantage is r - mean, scaled up by the share of groups that have
    any: the estimator "gpg". The authors' code (AMAP-ML/GPG) divides the loss by that share + 1e-5
    instead; verl counts rewards that are not 0 for groups that have an advantage.
    """

    title: ClassVar[str] = "GPG"
    arxiv: ClassVar[str] = "2504.02546"
    radius: ClassVar[str] = "none"
    advantages: ClassVar[str] = "gpg"
    reduction: ClassVar[str] = "seq-mean-token-mean"
    when_unstable: ClassVar[str] = "take one update per rollout: nothing here corrects for more"

    def form(self) -> Outline:
        """See the base class."""
        return Outline(side="none")

    def weight(self, batch: TokenBatch) -> Tokens:
        """Give 1, `[batch, time]`."""
        return batch.log_probs.new_ones(()).expand_as(batch.log_probs)
