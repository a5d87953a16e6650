"""What a gate did to a batch, in numbers that add up over micro-batches and ranks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maspo.core.batch import TokenBatch
from maspo.core.objective import Terms
from maspo.core.select import only
from maspo.core.shapes import AnyScalar, Mask, Scalar, Tokens

CLIP = 0.2
"""Radius of the clip that `grad_mass_vs_clip` compares with, GRPO's default."""

BANDS = {"low": (0.0, 0.1), "mid": (0.1, 0.9), "high": (0.9, torch.inf)}
"""Bands of π_old by which the gate is reported."""


@dataclass(frozen=True)
class Mean:
    """A weighted mean kept as its two sums, so that the means of parts add up to that of the whole."""

    total: Scalar
    """Scalar: sum of weight times value."""
    weight: AnyScalar
    """Scalar: sum of weights."""

    def __add__(self, other: Mean) -> Mean:
        """Pool two parts."""
        return Mean(self.total + other.total, self.weight + other.weight)

    def __float__(self) -> float:
        """Give the mean; NaN where nothing was counted."""
        weight = float(self.weight)
        return float(self.total) / weight if weight else float("nan")


def gate_metrics(batch: TokenBatch, terms: Terms) -> dict[str, Mean]:
    """Describe the gate on the tokens of `batch` that have an advantage, keys under `maspo/`.

    - `gate_mean`: weight / ratio, 1 where the objective leaves the plain policy gradient alone;
      also by sign of the advantage (`_pos`, `_neg`) and by band of π_old (`_prob_low` below 0.1,
      `_prob_mid`, `_prob_high` from 0.9).
    - `gate_active`: share of tokens with a gate below 0.99.
    - `ratio_mean`, `ratio_p99`: π / π_old as it is; `effective_ratio_mean`: the weight.
    - `width_p10`, `_p50`, `_p90`: quantiles of the gate's width, where it has one.
    - `grad_mass_vs_clip`: Σ|w A| over the same sum under a clip of ± 0.2.

    Quantiles pool as means weighted by tokens. A group whose advantages are all 0 has no tokens here.
    """
    live = batch.mask & (batch.advantages != 0)
    gate = terms.weights / terms.ratios_of(batch)
    positive, q = batch.advantages > 0, batch.old_log_probs.exp()
    found = {
        "gate_mean": mean_over(gate, live),
        "gate_mean_pos": mean_over(gate, live & positive),
        "gate_mean_neg": mean_over(gate, live & ~positive),
        "gate_active": mean_over((gate < 0.99).to(gate), live),
        "ratio_mean": mean_over(batch.ratio, live),
        "ratio_p99": quantile_over(batch.ratio, live, 0.99),
        "effective_ratio_mean": mean_over(terms.weights, live),
        "grad_mass_vs_clip": mass_against_clip(batch, terms, live),
    }
    for band, (low, high) in BANDS.items():
        found[f"gate_mean_prob_{band}"] = mean_over(gate, live & (q >= low) & (q < high))
    if terms.widths is not None:
        for percent in (10, 50, 90):
            found[f"width_p{percent}"] = quantile_over(terms.widths, live, percent / 100)
    return {f"maspo/{name}": mean for name, mean in found.items()}


def mean_over(values: Tokens, where: Mask) -> Mean:
    """Average `values` over the tokens that `where` marks, both `[batch, time]`."""
    return Mean(only(values, where).sum(), where.sum())


def quantile_over(values: Tensor, where: Tensor, level: float) -> Mean:
    """Take the quantile `level` of the marked tokens, weighted by their number."""
    chosen, count = values[where], where.sum()
    if chosen.numel() == 0:
        return Mean(count.to(values), count)
    rank = max(1, round(level * chosen.numel()))
    return Mean(chosen.kthvalue(rank).values * count, count)


def mass_against_clip(batch: TokenBatch, terms: Terms, live: Tensor) -> Mean:
    """Compare Σ|w A| of the objective with that of a clip of ± `CLIP`."""
    move = (batch.ratio - 1) * batch.advantages.sign()
    kept = only(batch.ratio, move <= CLIP)
    size = batch.advantages.abs() * live
    return Mean((terms.weights.abs() * size).sum(), (kept * size).sum())
