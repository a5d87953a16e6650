"""How far the weights of a model moved, from numbers spread over each parameter."""

from __future__ import annotations

import math
from typing import Any

import torch

from maspo.models.quantized import plain_parameters

NUMBERS_KEPT = 1024
"""Numbers of each parameter that are kept to see whether it moved."""

Numbers = dict[str, torch.Tensor]


def sample_weights(model: Any) -> Numbers:
    """Keep numbers spread over each parameter of a model, on the CPU, to compare with later."""
    found = {}
    for name, values in plain_parameters(model):
        flat = values.reshape(-1)
        step = max(1, flat.numel() // NUMBERS_KEPT)
        found[name] = flat[::step].to("cpu", torch.float64, copy=True)
    return found


def weight_change(before: Numbers, model: Any) -> float | None:
    """Return the norm of what changed since `sample_weights` over that of the weights.

    None where the model has other parameters now.
    """
    after = sample_weights(model)
    if {k: v.shape for k, v in after.items()} != {k: v.shape for k, v in before.items()}:
        return None
    moved = sum(float((after[name] - old).square().sum()) for name, old in before.items())
    size = sum(float(old.square().sum()) for old in before.values())
    return math.sqrt(moved / size) if size else None
