# pyright: reportMissingImports=false
"""Means that verl averages correctly over micro-batches, processes and updates."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from verl.utils.metric import AggregationType, Metric

from maspo.core.diagnostics import Mean


class PooledMean(Metric):
    """A weighted mean kept as its two sums: the mean of several is that of all their tokens.

    verl wraps what a loss returns in `Metric` and takes `numpy.mean` over micro-batches and processes,
    every number alike. numpy leaves addition and division of the elements of an object array to the
    elements: adding pools, and dividing by the number of parts does nothing, for the sum is a mean
    already. As that is a `Metric` again, verl then collects the updates of a rollout by `init_list` and
    `append`, and reads the number by `aggregate`.
    """

    def __init__(self, total: float, weight: float) -> None:
        """Take the sum of weight times value, and the sum of weights."""
        super().__init__(AggregationType.MEAN)
        self.total, self.weight = total, weight

    def __add__(self, other: Any) -> PooledMean:
        if isinstance(other, np.ndarray):  # numpy leaves some of them in the box below
            other = other.item()
        return PooledMean(self.total + other.total, self.weight + other.weight)

    def __truediv__(self, count: Any) -> PooledMean:
        return self

    def init_list(self) -> PooledMean:
        """Give an empty collector."""
        return PooledMean(0.0, 0.0)

    def append(self, value: Any) -> None:
        """Pool another mean into this one."""
        self.total, self.weight = self.total + value.total, self.weight + value.weight

    def aggregate(self) -> float:
        """Give the mean; NaN where nothing was counted."""
        return self.total / self.weight if self.weight else float("nan")


def pooled(means: dict[str, Mean]) -> dict[str, np.ndarray]:
    """Box the means of one micro-batch for verl's `Metric`, which takes numbers and arrays.

    They leave the device in one transfer.
    """
    sums = [torch.stack([mean.total, mean.weight.to(mean.total)]) for mean in means.values()]
    pairs = torch.stack(sums).double().tolist()
    boxes = {}
    for name, pair in zip(means, pairs, strict=True):
        boxes[name] = box = np.empty((), dtype=object)
        box[()] = PooledMean(*pair)
    return boxes
