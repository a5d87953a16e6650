"""FIPO, weights from what the rest of the response became."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from maspo.core.batch import TokenBatch
from maspo.core.objective import Outline, Terms
from maspo.core.select import choose, only
from maspo.core.settings import override, setting
from maspo.core.shapes import Tokens
from maspo.objectives.grpo import GRPO

BLOCK_TOKENS = 128
"""Tokens that are summed by one product with a matrix."""


@dataclass(frozen=True, kw_only=True)
class FIPO(GRPO):
    """PPO's clip, each token weighted by where the tokens from it on have drifted.

        J = sg(f_t) min(ρ A, clip(ρ, 1 - ε_low, 1 + ε_high) A)
        f_t = clip(exp(Σ_{k≥t} γ^{k-t} log ρ_k), f_low, f_high)          γ = 2^{-1/h}

    The sum leaves out tokens with ρ_k > c. With A < 0 and ρ above the safety threshold f_t is held
    in [0.8, 1]. Weight of a token: w = ρ f_t inside PPO's clip, else 0. k counts the tokens of the response.

    Source: arXiv:2603.19835 and ms-swift, from which half-life, bounds and threshold are (f_high = 1.2 and
    no weight below 1); c = 10 is that of the authors' script for 32B, which ε_high = 0.28 goes with.
    """

    title: ClassVar[str] = "FIPO"
    arxiv: ClassVar[str] = "2603.19835"
    radius: ClassVar[str] = "constant ε, times the drift of the suffix"
    sign_asymmetric: ClassVar[bool] = True

    epsilon_high: float = override(GRPO, "epsilon_high", 0.28)
    cap: float | None = override(GRPO, "cap", 10.0)
    half_life: float = setting(
        32.0, "h", "tokens after which a token's drift counts half", low=0, open_low=True
    )
    weight_low: float = setting(1.0, "f_low", "least weight that the suffix may give", low=0)
    weight_high: float = setting(1.2, "f_high", "greatest weight that the suffix may give", low=1)
    safety: float | None = setting(
        4.0,
        "safety threshold",
        "ratio above which, with A < 0, the suffix gives 0.8 to 1; none: no such bound",
        low=1,
        optional=True,
    )

    def form(self) -> Outline:
        """See the base class."""
        return replace(super().form(), gate=f"{self.shape}, times f")

    def token_terms(self, batch: TokenBatch) -> Terms:
        """See the class."""
        terms, f = super().token_terms(batch), self.influence(batch)
        assert terms.surrogate is not None  # a ratio objective has one
        return replace(terms, weights=terms.weights * f, surrogate=terms.surrogate * f)

    def influence(self, batch: TokenBatch) -> Tokens:
        """Return f, `[batch, time]`."""
        drift = batch.log_ratio
        if self.cap is not None:
            drift = only(drift, batch.ratio <= self.cap)
        bound = batch.max_log_ratio  # exp of more would only be clipped
        total = suffix_sums(drift, batch.mask, 2 ** (-1 / self.half_life)).clamp(-bound, bound)
        f = total.exp().clamp(self.weight_low, self.weight_high)
        if self.safety is None:
            return f
        return choose((batch.advantages < 0) & (batch.ratio > self.safety), f.clamp(0.8, 1.0), f)


def suffix_sums(x: Tensor, mask: Tensor, decay: float) -> Tensor:
    """Return Σ_{k≥t} decay^{k-t} x_k over the tokens under `mask`, all `[batch, time]`.

    Distances count tokens, not places: what is masked between two of them does not part them.
    """
    order = mask.int().argsort(dim=1, descending=True, stable=True)
    packed, sums = x.gather(1, order), torch.empty_like(x)
    steps = torch.arange(BLOCK_TOKENS, device=x.device, dtype=x.dtype)
    power = decay ** (steps.unsqueeze(0) - steps.unsqueeze(1)).clamp(min=0)
    block = power.triu().T  # [k, t]: what x_k adds at t
    carried = x.new_zeros(len(x), 1)
    for start in reversed(range(0, x.shape[1], BLOCK_TOKENS)):
        part = packed[:, start : start + BLOCK_TOKENS]
        size = part.shape[1]
        sums[:, start : start + size] = part @ block[:size, :size] + carried * decay ** (
            size - steps[:size]
        )
        carried = sums[:, start : start + 1]
    return torch.empty_like(x).scatter_(1, order, sums)
