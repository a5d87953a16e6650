"""GMPO, geometric-mean policy optimization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from maspo.core.batch import TokenBatch
from maspo.core.objective import ADVANTAGE_SIDE, Outline, SequenceObjective, Terms
from maspo.core.select import choose, only
from maspo.core.settings import setting


@dataclass(frozen=True, kw_only=True)
class GMPO(SequenceObjective):
    """The geometric mean of the token ratios, each clipped before it enters the mean.

        J = A exp(1/|o| Σ D')                    D = log(π / π_old)
        D' = min(D, ε_high)  if A ≥ 0
             max(D, -ε_low)  if A < 0

    J belongs to the sequence and stands at each of its tokens. Weight of a token: w = exp(mean D'),
    and 0 where D' ≠ D; a clipped token still moves the mean that all the others get. This is the
    gradient of the paper's mean over sequences under seq-mean-token-mean. Where the advantages
    differ along a sequence their mean is used.

    Source: arXiv:2507.20673. The release (callsys/GMPO) reads the sign of A off the micro-batch,
    so only one response a micro-batch is right, and clips both sides by its lower bound, the same
    for its ε of 0.4. verl (`geo_mean`) takes ± ε as bounds of D too, adds 1e-8 to |o|, and gives a
    sequence the geometric mean of its rollout weights, where `rollout_weights` here act on tokens.
    """

    title: ClassVar[str] = "GMPO"
    arxiv: ClassVar[str] = "2507.20673"
    radius: ClassVar[str] = "constant ε on log ρ, inside the sequence's mean"
    reduction: ClassVar[str] = "seq-mean-token-mean"

    epsilon_low: float = setting(
        0.4, "ε_low", "how far below 0 log ρ of a token keeps its gradient, in nats, A < 0", low=0
    )
    epsilon_high: float = setting(
        0.4, "ε_high", "how far above 0 log ρ of a token keeps its gradient, in nats, A >= 0", low=0
    )

    def form(self) -> Outline:
        """See the base class."""
        return Outline(level="sequence", gate="hard", side=ADVANTAGE_SIDE)

    def token_terms(self, batch: TokenBatch) -> Terms:
        """See the class."""
        drift, negative = batch.log_ratio, batch.advantages < 0
        held = choose(
            negative, drift.clamp(min=-self.epsilon_low), drift.clamp(max=self.epsilon_high)
        )
        mean = batch.spread(batch.sequence_mean(held))
        bounded = mean.clamp(-self.max_log_ratio, self.max_log_ratio)
        ratio = bounded.exp()
        return Terms(
            weights=only(ratio, (held == drift) & (bounded == mean)),
            surrogate=ratio * batch.advantages,
            ratios=ratio,
        )
