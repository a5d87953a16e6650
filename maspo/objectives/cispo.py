"""CISPO, clipped importance weights on the log-probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from maspo.core.batch import TokenBatch
from maspo.core.objective import LogProbObjective, Outline
from maspo.core.settings import setting
from maspo.core.shapes import Tokens


@dataclass(frozen=True, kw_only=True)
class CISPO(LogProbObjective):
    """Importance weights that saturate, so that no token is dropped.

        J = sg(clip(ρ, 1 - ε_low, 1 + ε_high)) A log π

    Weight of a token: w = clip(ρ, 1 - ε_low, 1 + ε_high), whatever the sign of A.

    Source: arXiv:2506.13585. The paper sets no lower bound and does not say which ε_high it uses;
    ε_high = 4 bounds the weight at 5, as in arXiv:2510.13786. verl has both bounds as written here.
    TRL takes its `epsilon_high` for the bound itself, not for its distance from 1, and by default
    that is 0.2: every weight is then held at 0.2, a fifth of the gradient.
    """

    title: ClassVar[str] = "CISPO"
    arxiv: ClassVar[str] = "2506.13585"
    radius: ClassVar[str] = "constant ε"

    epsilon_low: float | None = setting(
        None,
        "ε_low",
        "how far below 1 the weight may fall; none: down to 0",
        low=0,
        high=1,
        optional=True,
    )
    epsilon_high: float = setting(4.0, "ε_high", "how far above 1 the weight may rise", low=0)

    def form(self) -> Outline:
        """See the base class."""
        return Outline(gate="constant")

    def weight(self, batch: TokenBatch) -> Tokens:
        """Give the clipped ratio, `[batch, time]`."""
        floor = None if self.epsilon_low is None else 1 - self.epsilon_low
        return batch.ratio.clamp(floor, 1 + self.epsilon_high)
