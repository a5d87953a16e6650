"""What a gate did to a batch, in numbers that add up over micro-batches and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from maspo.core.batch import TokenBatch
from maspo.core.objective import Terms
from maspo.core.select import by_kernel, only
from maspo.core.shapes import AnyScalar, Mask, Scalar, Tokens

CLIP = 0.2
"""Radius of the clip that `grad_mass_vs_clip` compares with, GRPO's default."""

BANDS = {"low": (0.0, 0.1), "mid": (0.1, 0.9), "high": (0.9, torch.inf)}
"""Bands of π_old by which the gate is reported."""


FEW, LEADING = 4096, 16
"""Numbers that are sorted as a whole, and the bits by which more of them are counted first."""


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
    count, tokens = _live_tokens(batch, terms)
    ratio, weight, size = tokens["ratio"], tokens["weight"], tokens["advantage"].abs()
    gate = weight / tokens.get("ratio_seen", ratio)
    clipped = ratio.where((ratio - 1) * tokens["advantage"].sign() <= CLIP, 0)
    sums = {
        "gate_mean": gate, "gate_active": (gate < 0.99).to(gate), "ratio_mean": ratio,
        "effective_ratio_mean": weight,
    }  # fmt: skip
    found = {name: Mean(values.sum(), count) for name, values in sums.items()}
    mass, mass_of_clip = (weight.abs() * size).sum(), (clipped * size).sum()
    found |= {"grad_mass_vs_clip": Mean(mass, mass_of_clip), **_by_sign_and_band(gate, tokens)}
    found["ratio_p99"] = quantiles_of(ratio, [0.99])[0]
    if "width" in tokens:
        levels = {"width_p10": 0.1, "width_p50": 0.5, "width_p90": 0.9}
        found |= zip(levels, quantiles_of(tokens["width"], [*levels.values()]), strict=True)
    return {f"maspo/{name}": mean for name, mean in found.items()}


def _live_tokens(batch: TokenBatch, terms: Terms) -> tuple[Tensor, dict[str, Tensor]]:
    """Read the tokens that have an advantage out of the tensors of a batch, once: number, `[tokens]` each."""
    live = (batch.mask & (batch.advantages != 0)).flatten()
    given = {
        "ratio": batch.ratio, "weight": terms.weights, "advantage": batch.advantages,
        "old_log_prob": batch.old_log_probs, "ratio_seen": terms.ratios, "width": terms.widths,
    }  # fmt: skip
    if given["ratio_seen"] is batch.ratio:
        del given["ratio_seen"]
    places = live.nonzero().squeeze(1)
    tokens = {
        name: x.expand_as(batch.mask).flatten().index_select(0, places)
        for name, x in given.items()
        if x is not None
    }
    return live.sum(), tokens


def _by_sign_and_band(gate: Tensor, tokens: dict[str, Tensor]) -> dict[str, Mean]:
    """Average the gate of tokens by the sign of their advantage, and by the band of π_old."""
    bounds = [low for low, _ in BANDS.values()][1:]
    q = tokens["old_log_prob"].exp()
    cell = (tokens["advantage"] > 0).long() * len(BANDS)
    for bound in bounds:
        cell += q >= bound
    shape = 2, len(BANDS)
    sums = gate.new_zeros(shape, dtype=torch.float64).flatten().index_add_(0, cell, gate.double())
    counts = torch.zeros_like(sums).index_add_(0, cell, sums.new_ones(len(cell)))
    sums, counts = sums.view(shape).to(gate), counts.view(shape).to(gate)
    found = dict(zip(("neg", "pos"), map(Mean, sums.sum(1), counts.sum(1)), strict=True))
    bands = zip(BANDS, map(Mean, sums.sum(0), counts.sum(0)), strict=True)
    found |= {f"prob_{band}": mean for band, mean in bands}
    return {f"gate_mean_{name}": mean for name, mean in found.items()}


def mean_over(values: Tokens, where: Mask) -> Mean:
    """Average `values` over the tokens that `where` marks, both `[batch, time]`."""
    return Mean(only(values, where).sum(), where.sum())


def quantiles_of(values: Tensor, levels: Sequence[float]) -> list[Mean]:
    """Take quantiles of `values`, `[tokens]`, each weighted by the number of tokens."""
    count = torch.tensor(len(values), device=values.device)
    if not len(values):
        return [Mean(count.to(values), count)] * len(levels)
    ranks = [max(1, round(level * len(values))) for level in levels]
    return [Mean(value * count, count) for value in order_statistics(values, ranks)]


def order_statistics(values: Tensor, ranks: Sequence[int]) -> list[Tensor]:
    """Take the values, `[tokens]`, of these ranks, from 1 for the smallest, as sorting them would.

    Sorting is slow on a CPU. There numbers are counted by their leading bits, whose order as integers
    is theirs, and only those that share the bits of a rank are looked at.
    """
    if by_kernel(values) or len(values) <= FEW:
        ordered = values.sort().values
        return [ordered[rank - 1] for rank in ranks]
    integer, width = (torch.int32, 32) if values.dtype == torch.float32 else (torch.int64, 64)
    bits = values.view(integer)
    leading = (bits ^ ((bits >> (width - 1)) & torch.iinfo(integer).max)) >> (width - LEADING)
    leading += 1 << (LEADING - 1)
    heights = leading.bincount(minlength=1 << LEADING).cumsum(0)
    chosen = []
    for rank in ranks:
        place = int(torch.searchsorted(heights, rank))
        below = int(heights[place - 1]) if place else 0
        chosen.append(values[leading == place].kthvalue(rank - below).values)
    return chosen
