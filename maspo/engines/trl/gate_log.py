"""What the gate did, on its way into TRL's log: exact over micro-batches and processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from maspo.core.apply import Applied
from maspo.core.diagnostics import Mean

CollectTensor = Callable[[Tensor], Tensor]
"""Takes a tensor of this process and returns the sum, or the rows, of all processes."""


class GateLog:
    """Running totals of the metrics of `maspo.core.diagnostics.gate_metrics` since the last log line."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.totals: dict[str, Mean] = {}

    def add(self, found: Mapping[str, Mean]) -> None:
        """Add the metrics of a micro-batch."""
        for name, mean in found.items():
            self.totals[name] = self.totals[name] + mean if name in self.totals else mean

    def pop(self, sum_over_processes: CollectTensor) -> dict[str, float]:
        """Return the means over all micro-batches and processes, and start anew.

        A metric that no token has any weight in is absent.
        """
        totals, self.totals = self.totals, {}
        if not totals:
            return {}
        sums = torch.stack([torch.stack([m.total, m.weight.to(m.total)]) for m in totals.values()])
        pooled = zip(totals, sum_over_processes(sums).tolist(), strict=True)
        return {name: total / weight for name, (total, weight) in pooled if weight}

    def state(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the totals as a checkpoint holds them."""
        return {name: (mean.total, mean.weight) for name, mean in self.totals.items()}

    def load(self, state: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Go on from the totals of a checkpoint."""
        self.totals = {name: Mean(*sums) for name, sums in state.items()}


def clip_ratios(
    applied: Applied, sum_over_processes: CollectTensor, gather: CollectTensor
) -> dict[str, float]:
    """Return TRL's five clip ratios, counting the tokens whose gradient the objective cuts to zero.

    The smallest and largest over rows are NaN where no row of any process has a token.
    """
    batch = applied.batch
    cut = batch.mask & (applied.terms.weights == 0)
    low = cut & (batch.advantages < 0) & (batch.ratio < 1)
    high = cut & (batch.advantages > 0) & (batch.ratio > 1)
    sums = torch.stack([low.sum(), high.sum(), (low | high).sum(), batch.mask.sum()]).float()
    *counts, tokens = sum_over_processes(sums).tolist()
    names = ("low_mean", "high_mean", "region_mean")
    ratios = {name: n / max(tokens, 1.0) for name, n in zip(names, counts, strict=True)}
    rows = gather(torch.stack([low.sum(1), high.sum(1), batch.mask.sum(1)], dim=1))
    rows = rows[rows[:, 2] > 0]
    ratios["low_min"] = (rows[:, 0] / rows[:, 2]).min().item() if len(rows) else math.nan
    ratios["high_max"] = (rows[:, 1] / rows[:, 2]).max().item() if len(rows) else math.nan
    return {f"clip_ratio/{name}": ratio for name, ratio in ratios.items()}


def drop_absent(metrics: dict[str, list[float]]) -> None:
    """Take NaN out of TRL's lists of metrics, and those that nothing is left of."""
    for name, values in list(metrics.items()):
        metrics[name] = [value for value in values if not math.isnan(value)]
        if not metrics[name]:
            del metrics[name]
