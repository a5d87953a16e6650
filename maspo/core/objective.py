"""What every objective is, and the family most of them belong to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import ClassVar

from torch import Tensor

from maspo.core.batch import MAX_LOG_RATIO, TokenBatch
from maspo.core.gates import SHAPES, Gated
from maspo.core.select import choose, only, prepared
from maspo.core.settings import check_settings, setting
from maspo.core.shapes import Tokens
from maspo.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What an objective says of each token: the gradient of its loss is -(weight A + offset).

    All tensors are `[batch, time]`; `Objective.terms` makes them 0 under the mask.
    """

    weights: Tokens
    """w, the factor on A ∇log π."""
    surrogate: Tokens | None = None
    """J, the value to be maximised, for reports only; none: c log π."""
    ratios: Tokens | None = None
    """ρ as the objective sees it, where that is not the ratio of the token."""
    offsets: Tokens | None = None
    """Coefficients on ∇log π that do not scale with A."""
    widths: Tokens | None = None
    """Radius of the gate, in units of the ratio."""

    def slopes(self, advantages: Tokens) -> Tokens:
        """Give c = w A + offset, the coefficient on ∇log π."""
        c = self.weights * advantages
        return c if self.offsets is None else c + self.offsets

    def slopes_and_values(self, batch: TokenBatch) -> tuple[Tokens, Tokens]:
        """Give c and J, all that an engine needs."""
        c = self.slopes(batch.advantages)
        return c, c * batch.log_probs if self.surrogate is None else self.surrogate

    def ratios_of(self, batch: TokenBatch) -> Tokens:
        """Give ρ as the objective sees it, `[batch, time]`."""
        return batch.ratio if self.ratios is None else self.ratios

    def only(self, keep: Tensor) -> Terms:
        """Silence the tokens outside `keep`: bool `[batch, time]`, or what `prepared` made of it."""
        surrogate, offsets = (
            None if x is None else only(x, keep) for x in (self.surrogate, self.offsets)
        )
        weights = only(self.weights, keep)
        return replace(self, weights=weights, surrogate=surrogate, offsets=offsets)


ADVANTAGE_SIDE = "A (ρ - 1) > 0"
"""The side to which the advantage asks the ratio to move."""


@dataclass(frozen=True, kw_only=True)
class Outline:
    """What becomes of a token's weight as its ratio leaves 1, in a few words, for tables."""

    level: str = "token"
    """Whose ratio: of the token, or of its sequence."""
    gate: str = "none"
    """What becomes of the weight."""
    side: str = "both"
    """Where: on both sides of 1, or on `ADVANTAGE_SIDE`."""


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """A policy objective: a value whose fields are its hyperparameters.

    A subclass states its equation in its docstring, its source in `arxiv`, and computes
    `token_terms`. It never sums: advantages, reduction and model are the caller's. The fields here
    steady any objective and are off by default.
    """

    title: ClassVar[str]
    """As people write it."""
    arxiv: ClassVar[str]
    """Where the method was published."""
    radius: ClassVar[str]
    """What bounds the ratio, in a few words."""
    mass_aware: ClassVar[bool] = False
    """Whether the weight depends on the probability of the token besides its ratio."""
    sign_asymmetric: ClassVar[bool] = False
    """Whether the sign of the advantage changes more than the side."""
    couples_batch: ClassVar[bool] = False
    """Whether the weight of a token depends on other sequences of the batch handed in."""
    needs_dead_rows: ClassVar[bool] = False
    """Whether a sequence whose advantages are all 0 has a gradient, or changes that of others."""
    inputs: ClassVar[tuple[str, ...]] = ()
    """The optional fields of TokenBatch that it cannot do without."""
    advantages: ClassVar[str | None] = None
    """The advantage estimator that belongs to the method, a name in `ADVANTAGES`; none: any does."""
    reduction: ClassVar[str | None] = None
    """The reduction that belongs to the method, one of `REDUCTIONS`; none: any does."""
    when_unstable: ClassVar[str] = "lower the learning rate"
    """What its authors say to change when training collapses."""

    cap: float | None = setting(
        None,
        "c",
        "with A < 0 a ratio above c gets no gradient (dual clip, arXiv:1912.09729); none: no bound",
        low=1.0,
        open_low=True,
        optional=True,
    )
    soft_cap: bool = setting(
        False, "c", "such a token keeps the weight c instead of losing its gradient"
    )
    max_log_ratio: float = setting(
        MAX_LOG_RATIO, "D", "|log ρ| beyond which ρ is held constant", low=0, open_low=True
    )
    off_policy_threshold: float | None = setting(
        None,
        "δ",
        "drop sequences with A < 0 whose mean log π_old - log π exceeds δ (OPSM, as in TRL); none: keep",
        low=0,
        optional=True,
    )

    def __post_init__(self) -> None:
        """Raise InputError for a hyperparameter outside its limits."""
        check_settings(self)

    def __str__(self) -> str:
        """Name the class and the settings that are not its defaults."""
        values = [(f, getattr(self, f.name)) for f in fields(self)]
        changed = [f"{f.name}={value!r}" for f, value in values if value != f.default]
        return f"{type(self).__name__}({', '.join(changed)})"

    @abstractmethod
    def token_terms(self, batch: TokenBatch) -> Terms:
        """Give weight and value of every token by the method's own equation."""

    def terms(self, batch: TokenBatch) -> Terms:
        """Give weight and value of every token, the steadying fields applied; without gradient.

        Raises InputError where the batch lacks one of `inputs`.
        """
        for name in self.inputs:
            if getattr(batch, name) is None:
                raise InputError(f"{type(self).__name__} needs {name}, and none were given")
        if batch.max_log_ratio != self.max_log_ratio:
            batch = replace(batch, max_log_ratio=self.max_log_ratio)
        terms, keep = self.token_terms(batch), batch.kept
        if self.cap is not None:
            terms = capped(terms, batch, self.cap, self.soft_cap)
        if self.off_policy_threshold is not None:
            drift = -batch.sequence_mean(batch.log_ratio)
            dropped = (batch.advantages < 0) & (drift > self.off_policy_threshold)
            keep = prepared(batch.mask & ~dropped, batch.log_probs)
        return terms.only(keep)

    def form(self) -> Outline:
        """Return the outline of the method's own equation, without the steadying fields."""
        return Outline()

    def outline(self) -> Outline:
        """Return the outline; the cap is a side of its own."""
        form = self.form()
        beyond = f", and A < 0 with ρ > {self.cap:g}" if self.cap else ""
        return replace(form, side=form.side + beyond)

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
    level: str = setting(
        "token",
        "level",
        "token: ρ of the token; sequence: exp of its sequence's mean log ratio, as in GSPO",
        choices=("token", "sequence"),
    )

    def form(self) -> Outline:
        """See the base class: the fields say it."""
        side = "both" if self.two_sided else ADVANTAGE_SIDE
        return Outline(level=self.level, gate=self.shape, side=side)

    @abstractmethod
    def width(self, batch: TokenBatch) -> Tokens:
        """Give the radius of the gate, `[batch, time]`, in units of the ratio."""

    def token_terms(self, batch: TokenBatch) -> Terms:
        """See the class."""
        if self.level == "sequence":
            batch = batch.pooled()
        ratio, width = batch.ratio, self.width(batch)
        weight, value = self.gate(batch, width)
        if not self.two_sided:
            gated = batch.advantages * (ratio - 1) > 0
            weight, value = Gated(*(choose(gated, x, ratio) for x in (weight, value)))
        return Terms(
            weights=batch.intact(weight),
            surrogate=value * batch.advantages,
            ratios=ratio,
            widths=width,
        )

    def gate(self, batch: TokenBatch, width: Tokens) -> Gated:
        """Give weight and value per unit of advantage where the gate is on."""
        return SHAPES[self.shape](batch.ratio, width)


@dataclass(frozen=True, kw_only=True)
class LogProbObjective(Objective):
    """An objective that weighs the log-probability itself and leaves the weight without gradient.

        J = sg(w) A log π

    The slope is w A however far the ratio has gone: `max_log_ratio` holds the ratio inside w, and
    the token keeps its gradient beyond, as in verl. J is no estimate of anything; its size cannot be
    compared with that of ratio objectives.
    """

    @abstractmethod
    def weight(self, batch: TokenBatch) -> Tokens:
        """Give w, `[batch, time]`."""

    def token_terms(self, batch: TokenBatch) -> Terms:
        """See the class."""
        return Terms(weights=self.weight(batch))


@dataclass(frozen=True, kw_only=True)
class SequenceObjective(Objective):
    """An objective of whole sequences: where the advantages differ along one, their mean is used."""

    def terms(self, batch: TokenBatch) -> Terms:
        """Give the terms by the advantage of the sequence; offsets make up for that of the token."""
        whole = replace(batch, advantages=batch.sequence_advantages)
        terms = super().terms(whole)
        offsets = terms.slopes(whole.advantages) - terms.weights * batch.advantages
        return replace(terms, offsets=offsets)


def capped(terms: Terms, batch: TokenBatch, cap: float, soft: bool) -> Terms:
    """Bound the tokens with A < 0 whose ratio is beyond the cap: no weight, or the weight `cap` if `soft`."""
    ratios = terms.ratios_of(batch)
    beyond = (batch.advantages < 0) & (ratios > cap)
    weights = choose(beyond, ratios.new_tensor(cap if soft else 0.0), terms.weights)
    if terms.surrogate is None:
        return replace(terms, weights=weights)
    kept = terms.surrogate * (cap / ratios)
    return replace(terms, weights=weights, surrogate=choose(beyond, kept, terms.surrogate))
