"""What every objective is, and the family most of them belong to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from maspo.core.batch import TokenBatch
from maspo.core.gates import SHAPES, Gated
from maspo.core.settings import check_settings, setting


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What an objective says of each token: the gradient of its loss is -(weight A + offset)."""

    weights: Tensor
    """w, `[batch, time]`: the factor on A ∇log π."""
    surrogate: Tensor
    """J, `[batch, time]`: the value to be maximised, for reports only."""
    offsets: Tensor | None = None
    """`[batch, time]` coefficients on ∇log π that do not scale with A."""
    widths: Tensor | None = None
    """`[batch, time]` radius of the gate, in units of the ratio."""


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """A policy objective: a value whose fields are its hyperparameters.

    A subclass states its equation in its docstring, its source in `arxiv`, and computes `terms`.
    It never sums: reduction, normalisation and the model are the caller's.
    """

    title: ClassVar[str]
    """As people write it."""
    arxiv: ClassVar[str]
    """Where the method was published."""
    radius: ClassVar[str]
    """What bounds the ratio, in a few words."""
    when_unstable: ClassVar[str] = "lower the learning rate"
    """What its authors say to change when training collapses."""

    def __post_init__(self) -> None:
        """Raise InputError for a hyperparameter outside its limits."""
        check_settings(self)

    @abstractmethod
    def terms(self, batch: TokenBatch) -> Terms:
        """Give weight and value of every token; called without gradient."""

    def advice(self, parameters: int | None = None) -> list[str]:
        """Say what is known to go wrong with these settings, for a model of so many parameters."""
        return []


@dataclass(frozen=True, kw_only=True)
class GatedObjective(Objective):
    """A ratio objective with a gate: radius x shape x side x ratio level.

        J = ρ A        where the gate is off
        J = f(ρ) A     where it is on: f is the shape, drawn to the width of the token

    The gate is on where the ratio has left 1 in the direction the advantage asks for,
    A (ρ - 1) > 0, and everywhere if `two_sided`. Subclasses give the width, set the defaults and
    add hyperparameters.
    """

    shape: str = setting("hard", "f", "shape of the gate", choices=tuple(SHAPES))
    two_sided: bool = setting(
        False, "side", "gate also the tokens whose ratio moved against the advantage"
    )
    cap: float | None = setting(
        None,
        "c",
        "dual clip (arXiv:1912.09729): with A < 0 a ratio above c gets no gradient; none: no bound",
        low=1.0,
        open_low=True,
        optional=True,
    )
    level: str = setting(
        "token",
        "level",
        "token: ρ of the token; sequence: exp of its sequence's mean log ratio, as in GSPO",
        choices=("token", "sequence"),
    )

    @abstractmethod
    def width(self, batch: TokenBatch) -> Tensor:
        """Give the radius of the gate, `[batch, time]`, in units of the ratio."""

    def terms(self, batch: TokenBatch) -> Terms:
        """See the class."""
        if self.level == "sequence":
            batch = batch.pooled()
        ratio, negative = batch.ratio, batch.advantages < 0
        width = self.width(batch)
        weight, value = SHAPES[self.shape](ratio, width)
        if not self.two_sided:
            gated = batch.advantages * (ratio - 1) > 0
            weight, value = Gated(*(torch.where(gated, x, ratio) for x in (weight, value)))
        if self.cap is not None:
            capped = negative & (ratio > self.cap)
            weight = torch.where(capped, 0.0, weight)
            value = torch.where(capped, self.cap, value)
        return Terms(
            weights=torch.where(batch.broken, 0.0, weight),
            surrogate=value * batch.advantages,
            widths=width,
        )
