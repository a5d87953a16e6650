"""DRPO, a quadratic in place of DPPO's mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from maspo.core.batch import TokenBatch
from maspo.core.objective import Objective, Outline, Terms
from maspo.core.settings import setting


@dataclass(frozen=True, kw_only=True)
class DRPO(Objective):
    """The policy gradient with a pull back that grows with the distance in probability.

        J = ρ A - |A| π_old (ρ - 1)² / 2ε

    Weight of a token: w = ρ (1 - sign(A) (π - π_old) / ε): it falls in a straight line as π moves the way
    that A asks for, is 0 at a distance of ε, and negative beyond, where it pulls back. Against A
    it grows. Of the objectives here the nearest to MASPO: soft, and blind to the ratio of a rare token.

    Source: arXiv:2606.09821. The published threshold is 12.5 (section 4, and the authors' UniRL). A
    probability cannot move by more than 1, so that at 12.5 no weight leaves [0.92 ρ, 1.08 ρ]: a radius
    such as DPPO's is 0.15. π_old is there the policy that sampled.
    """

    title: ClassVar[str] = "DRPO"
    arxiv: ClassVar[str] = "2606.09821"
    radius: ClassVar[str] = "|π - π_old| = ε"
    mass_aware: ClassVar[bool] = True
    when_unstable: ClassVar[str] = "lower epsilon"

    epsilon: float = setting(
        12.5, "ε", "distance of π from π_old at which the weight is 0", low=0, open_low=True
    )

    def form(self) -> Outline:
        """See the base class."""
        return Outline(gate="linear, negative beyond")

    def token_terms(self, batch: TokenBatch) -> Terms:
        """See the class."""
        ratio, advantages = batch.ratio, batch.advantages
        moved = batch.old_log_probs.exp() * (ratio - 1)
        penalty = advantages.abs() * moved * (ratio - 1) / (2 * self.epsilon)
        return Terms(
            weights=batch.intact(ratio * (1 - advantages.sign() * moved / self.epsilon)),
            surrogate=ratio * advantages - penalty,
        )
