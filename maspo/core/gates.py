"""Gate shapes: how the weight of a token falls as its ratio leaves 1.

A shape takes the ratio ρ and a width, both `[batch, time]`, and returns a `Gated` pair per unit of
advantage: `weight`, the factor on A ∇log π, and `surrogate`, the value whose size is reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from maspo.core.select import only


class Gated(NamedTuple):
    """What a gate makes of a ratio, both `[batch, time]`."""

    weight: Tensor
    """w in ∇J = w A ∇log π."""
    surrogate: Tensor
    """J / A."""


def hard(ratio: Tensor, width: Tensor) -> Gated:
    """PPO's clip: w = ρ while |ρ - 1| ≤ width, else 0; J/A = clip(ρ, 1 ± width)."""
    inside = (ratio - 1).abs() <= width
    return Gated(only(ratio, inside), ratio.clamp(1 - width, 1 + width))


def gaussian(ratio: Tensor, width: Tensor) -> Gated:
    """MASPO's gate: w = J/A = ρ exp(-(ρ - 1)² / 2 width²), the exponential without gradient.

    With a gradient through the exponential the weight would turn negative beyond
    ρ = (1 + √(1 + 4 width²)) / 2, that is 1.62 at width 1.
    """
    gated = ratio * torch.exp(-0.5 * ((ratio - 1) / width).square())
    return Gated(gated, gated)


def sech2(ratio: Tensor, width: Tensor) -> Gated:
    """SAPO's gate: w = ρ sech²((ρ - 1) / 2 width), J/A = 4 width sigmoid((ρ - 1) / width)."""
    x = (ratio - 1) / width
    s, rest = torch.sigmoid(x), torch.sigmoid(-x)  # 1 - s would round to 0
    return Gated(rest.mul_(s).mul_(ratio).mul_(4), s.mul_(width).mul_(4))


def erf(ratio: Tensor, width: Tensor) -> Gated:
    """Gaussian tails: w = ρ exp(-x²), J/A = 1 + width (√π / 2) erf(x), x = (ρ - 1) / width.

    The weight of `gaussian` at a width √2 times smaller, and the value that has this slope.
    """
    x = (ratio - 1) / width
    value = 1 + width * (0.5 * math.sqrt(math.pi)) * torch.erf(x)
    return Gated(ratio * torch.exp(-x.square()), value)


def arctan(ratio: Tensor, width: Tensor) -> Gated:
    """Tails of power 2: w = ρ / (1 + x²), J/A = 1 + width arctan(x), x = (ρ - 1) / width."""
    x = (ratio - 1) / width
    return Gated(ratio / (1 + x.square()), 1 + width * torch.atan(x))


def softsign(ratio: Tensor, width: Tensor) -> Gated:
    """Tails of power 2: w = ρ / (1 + |x|)², J/A = 1 + width x / (1 + |x|), x = (ρ - 1) / width."""
    x = (ratio - 1) / width
    return Gated(ratio / (1 + x.abs()).square(), 1 + width * x / (1 + x.abs()))


SHAPES: dict[str, Callable[[Tensor, Tensor], Gated]] = {
    "gaussian": gaussian,
    "hard": hard,
    "sech2": sech2,
    "erf": erf,
    "arctan": arctan,
    "softsign": softsign,
}
