"""BAPO, balanced policy optimization with adaptive clipping."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from maspo.core.batch import TokenBatch
from maspo.core.objective import ADVANTAGE_SIDE, Objective, Outline, Terms
from maspo.core.select import choose, only
from maspo.core.settings import override, setting
from maspo.errors import InputError


@dataclass(frozen=True, kw_only=True)
class BAPO(Objective):
    """PPO's clip with bounds that are searched until the positive tokens have their share of the loss.

        J = min(ρ A, clip(ρ, c_low, c_high) A)
        S⁺ = Σ_{A>0} π_old min(ρ, c_high) A      S⁻ = Σ_{A<0} π_old max(ρ, c_low) |A|
        c_low, c_high: the first on the path with S⁺ / (S⁺ + S⁻) ≥ ρ₀, else its end
        path: c_high from a⁺ by steps of δ₁ up to b⁺, then c_low from a⁻ by steps of δ₂ up to b⁻

    Weight of a token: w = ρ, and 0 where A > 0 with ρ > c_high or A < 0 with ρ < c_low. The bounds carry
    no gradient. The sums are over the micro-batch handed in, on all processes, so the bounds change
    with its size; all bounds on the path are measured at once, in one exchange. A batch without
    advantages stays at the start of the path.

    A last step that would pass b⁻ or b⁺ ends there, as in the release, where the paper would not take
    it. A clipped negative token counts with c_low, so raising c_low can only lower the share: in
    effect the search is over c_high, and where that fails both bounds go to their ends.

    Source: arXiv:2510.18927, equation 8, algorithm 1 and section 5.1. The authors' release differs,
    see `bapo_released`.
    """

    title: ClassVar[str] = "BAPO"
    arxiv: ClassVar[str] = "2510.18927"
    radius: ClassVar[str] = "bounds searched for the balance of the batch"
    mass_aware: ClassVar[bool] = True
    sign_asymmetric: ClassVar[bool] = True
    couples_batch: ClassVar[bool] = True

    target: float = setting(
        0.4,
        "ρ₀",
        "share of the loss that the positive tokens are to have; 0: no search",
        low=0,
        high=1,
    )
    upper_start: float = setting(1.2, "a⁺", "first c_high, a ratio", low=0, open_low=True)
    upper_max: float = setting(3.0, "b⁺", "last c_high; a⁺: it stays", low=0, open_low=True)
    upper_step: float = setting(0.05, "δ₁", "step of c_high", low=0, open_low=True)
    lower_start: float = setting(0.6, "a⁻", "first c_low, a ratio", low=0)
    lower_max: float = setting(0.9, "b⁻", "last c_low; a⁻: it stays", low=0)
    lower_step: float = setting(0.02, "δ₂", "step of c_low", low=0, open_low=True)
    first: str = setting("upper", "first", "the bound that moves first", choices=("upper", "lower"))
    by_mass: bool = setting(True, "π_old", "weigh each token by π_old in the sums")

    def form(self) -> Outline:
        """See the base class."""
        return Outline(gate="hard", side=ADVANTAGE_SIDE)

    def __post_init__(self) -> None:
        """Raise InputError for ranges that run backwards or overlap."""
        super().__post_init__()
        rungs = {
            name: getattr(self, name)
            for name in ("lower_start", "lower_max", "upper_start", "upper_max")
        }
        if sorted(rungs.values()) != list(rungs.values()):
            said = ", ".join(f"{name} {value:g}" for name, value in rungs.items())
            raise InputError(f"the bounds of BAPO must not fall in this order: {said}")

    def path(self) -> list[tuple[float, float]]:
        """List the pairs (c_low, c_high) in the order of the search."""
        lows = ladder(self.lower_start, self.lower_max, self.lower_step)
        highs = ladder(self.upper_start, self.upper_max, self.upper_step)
        if self.first == "upper":
            return [(lows[0], high) for high in highs] + [(low, highs[-1]) for low in lows[1:]]
        return [(low, highs[0]) for low in lows] + [(lows[-1], high) for high in highs[1:]]

    def bounds(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """Search c_low and c_high, two scalars."""
        path = self.path()
        size = batch.advantages * batch.old_log_probs.exp() if self.by_mass else batch.advantages
        for_low = {low: (batch.ratio.clamp(min=low) * -size.clamp(max=0)).sum() for low, _ in path}
        for_high = {
            high: (batch.ratio.clamp(max=high) * size.clamp(min=0)).sum() for _, high in path
        }
        sums = [torch.stack([for_low[low], for_high[high]]) for low, high in path]
        negative, positive = batch.total(torch.stack(sums)).unbind(1)
        reached = positive >= self.target * (positive + negative)
        index = torch.where(reached.any(), reached.int().argmax(), len(path) - 1)
        low, high = batch.ratio.new_tensor(path)[index]
        return low, high

    def token_terms(self, batch: TokenBatch) -> Terms:
        """See the class."""
        low, high = self.bounds(batch)
        ratio, advantages = batch.ratio, batch.advantages
        value = choose(advantages < 0, ratio.clamp(min=low), ratio.clamp(max=high))
        return Terms(
            weights=only(ratio, (value == ratio) & ~batch.broken),
            surrogate=value * advantages,
            ratios=ratio,
            widths=choose(ratio > 1, high - 1, 1 - low),
        )


@dataclass(frozen=True, kw_only=True)
class BAPOReleased(BAPO):
    """BAPO as its authors released it.

        J = min(ρ A, clip(ρ, c_low, c_high) A)     A ≥ 0
            max(min(ρ A, clip(ρ) A), c A)          A < 0, c = 3
        S⁺ = Σ_{A>0} min(ρ, c_high) A              S⁻ = Σ_{A<0} max(ρ, c_low) |A|
        path: c_low from 0.6 by 0.05 up to 0.8, then c_high from 1.2 by 0.05 up to 2

    Against the paper: c_low moves first, though that only raises S⁻; π_old does not count; and a
    dual clip bounds A < 0. The release asks for S⁺ / S⁻ ≥ r, which is S⁺ / (S⁺ + S⁻) ≥ r / (1 + r):
    its configuration, r = 1, is the target 0.5 here, and its example script, r = 0.5 with ranges
    from 0.8 to 0.95 and from 1.2 to 2 by 0.1, the target 1/3. It exchanges the sums of the ranks at
    every step of a loop, so that ranks with unequal numbers of micro-batches wait for each other
    for ever.

    Source: arXiv:2510.18927, code at github.com/WooooDyy/BAPO (recipe/bapo, commit 7287044).
    """

    title: ClassVar[str] = "BAPO, as released"
    mass_aware: ClassVar[bool] = False

    target: float = override(BAPO, "target", 0.5)
    upper_max: float = override(BAPO, "upper_max", 2.0)
    lower_max: float = override(BAPO, "lower_max", 0.8)
    lower_step: float = override(BAPO, "lower_step", 0.05)
    first: str = override(BAPO, "first", "lower")
    by_mass: bool = override(BAPO, "by_mass", False)
    cap: float | None = override(BAPO, "cap", 3.0)


def ladder(start: float, end: float, step: float) -> list[float]:
    """List `start`, `start` + `step` and so on, the last one `end`."""
    steps = math.ceil((end - start) / step - 1e-9)
    return [*(start + i * step for i in range(steps)), end]
