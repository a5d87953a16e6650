"""DRO, direct reward optimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from maspo.core.batch import TokenBatch
from maspo.core.objective import Objective, Outline, Terms
from maspo.core.settings import setting


@dataclass(frozen=True, kw_only=True)
class DRO(Objective):
    """The policy gradient with a spring to the old policy in place of a gate.

        J = A log π - β/2 (log ρ)²

    Slope of a token: A - β log ρ; that is w = 1 and an offset that also acts where A = 0.

    Source: arXiv:2405.19107, in the form of verl's `dro`, where β has no default; 0.05 is the example
    of the Tinker documentation, which sums over tokens. There nothing bounds the pull of a token far
    away; here it stays that of |log ρ| = D beyond D, and J goes on in a straight line.
    """

    title: ClassVar[str] = "DRO"
    arxiv: ClassVar[str] = "2405.19107"
    radius: ClassVar[str] = "none"
    needs_dead_rows: ClassVar[bool] = True
    when_unstable: ClassVar[str] = "raise beta"

    beta: float = setting(0.05, "β", "pull per unit of log ρ; 0: none", low=0)

    def form(self) -> Outline:
        """See the base class."""
        return Outline(gate="pull to π_old")

    def token_terms(self, batch: TokenBatch) -> Terms:
        """See the class."""
        far = batch.log_ratio
        held = far.clamp(-batch.max_log_ratio, batch.max_log_ratio)
        penalty = self.beta * held * (far - held / 2)
        return Terms(
            weights=far.new_ones(()).expand_as(far),
            surrogate=batch.advantages * batch.log_probs - penalty,
            offsets=-self.beta * held,
        )
