"""Library only: correction for a sampling engine whose probabilities are not those of the old policy.

TRL and verl have corrections of their own, which go through `apply_objective` or around it.

An engine that samples with other kernels, other precision or older weights has probabilities
π_roll of its own. Every mode turns x = π_old / π_roll, of a token or of a sequence of n tokens,
into a detached weight that multiplies any objective.

    mode                weight of a token                       default bounds
    token_truncate      x, held at low and high                 none to 2        TIS
    token_mask          x within low and high, else 0           0.5 to 5         IcePop
    sequence_truncate   Π x, held at low and high               none to 2
    sequence_mask       Π x within low and high, else 0         0.5 to 2         MIS
    seq_mean_k1         1 while (Π x)^(1/n) is within, else 0   0.999 to 1.001   geometric rejection
    seq_mean_k3         1 while mean(x - 1 - log x) is within   none to 0.01     k3 rejection

The first four names are TRL's, the last two and the bounds verl's; TRL's own bound is 3, and none
below. verl bounds 1/x in seq_mean_k1, so bounds that are no reciprocals have to be turned round. The
two rejections carry no x: multiply them with the weights of another mode to have both. A token with
weight 0 still counts in the denominator of a reduction, as in TRL; verl takes it out of the mask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from maspo.core.batch import MAX_LOG_RATIO, finite
from maspo.core.select import only
from maspo.core.shapes import AnyMask, Tokens
from maspo.errors import InputError, unknown


def rollout_weights(
    old_log_probs: Tokens,
    rollout_log_probs: Tokens,
    mask: AnyMask,
    mode: str = "token_truncate",
    *,
    low: float | None = None,
    high: float | None = None,
) -> Tokens:
    """Give the weights for `policy_loss(rollout_weights=...)`, `[batch, time]`, detached, 0 under the mask.

    Args:
        old_log_probs: `[batch, time]`, log π_old in nats.
        rollout_log_probs: `[batch, time]`, log π_roll as the engine reports it; a NaN, a token that
            the engine did not score, counts as x = 1.
        mask: `[batch, time]`, bool or 0/1; what lies under 0 may be anything.
        mode: one of `maspo.ROLLOUT_MODES`, see `maspo.core.rollout`.
        low: lower bound, itself allowed; without it that of the mode. 0 is no bound.
        high: upper bound, likewise; infinity is no bound.

    log x is held at ± 20, of tokens and of sequences. Raises InputError for an unknown mode and for
    bounds that contradict each other, ValueError where shapes do not agree.
    """
    if mode not in ROLLOUT_MODES:
        raise unknown("rollout mode", mode, ROLLOUT_MODES)
    known = ROLLOUT_MODES[mode]
    low = known.low if low is None else low
    high = known.high if high is None else high
    if not 0 <= low <= high:
        raise InputError(f"the bounds of {mode} must be 0 <= low <= high, not {low} and {high}")
    if not old_log_probs.shape == rollout_log_probs.shape == mask.shape:
        shapes = [list(x.shape) for x in (old_log_probs, rollout_log_probs, mask)]
        raise ValueError(f"log-probabilities and mask must have one shape, not {shapes}")
    mask = mask.bool()
    rollout = finite(rollout_log_probs, mask)
    log_x = finite(old_log_probs, mask) - rollout
    log_x = only(log_x, ~rollout.isnan())
    weights = known.decide(known.measure(log_x, mask), low, high)
    return only(weights.expand_as(log_x), mask)


def token_ratio(log_x: Tensor, mask: Tensor) -> Tensor:
    """Give x of every token."""
    return log_x.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


def sequence_ratio(log_x: Tensor, mask: Tensor) -> Tensor:
    """Give the product of x over each sequence, `[batch, 1]`."""
    return token_ratio(log_x.sum(1, keepdim=True), mask)


def geometric_mean(log_x: Tensor, mask: Tensor) -> Tensor:
    """Give the geometric mean of x over each sequence, `[batch, 1]`."""
    return token_ratio(mean_over_tokens(log_x, mask), mask)


def mean_k3(log_x: Tensor, mask: Tensor) -> Tensor:
    """Estimate KL(π_roll, π_old) of each sequence per token, `[batch, 1]`, in nats."""
    held = log_x.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return mean_over_tokens(held.exp() - 1 - held, mask)


def mean_over_tokens(values: Tensor, mask: Tensor) -> Tensor:
    """Average `values`, 0 under the mask, over each sequence, `[batch, 1]`."""
    return values.sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)


def truncate(x: Tensor, low: float, high: float) -> Tensor:
    """Hold x within the bounds."""
    return x.clamp(low, high)


def drop(x: Tensor, low: float, high: float) -> Tensor:
    """Keep x within the bounds, 0 beyond."""
    return only(x, (x >= low) & (x <= high))


def reject(x: Tensor, low: float, high: float) -> Tensor:
    """Give 1 within the bounds, 0 beyond."""
    return ((x >= low) & (x <= high)).to(x)


@dataclass(frozen=True, kw_only=True)
class RolloutMode:
    """What is measured, what follows from it, and the bounds where none are given."""

    measure: Callable[[Tensor, Tensor], Tensor]
    decide: Callable[[Tensor, float, float], Tensor]
    low: float = 0.0
    high: float


ROLLOUT_MODES: dict[str, RolloutMode] = {
    "token_truncate": RolloutMode(measure=token_ratio, decide=truncate, high=2.0),
    "token_mask": RolloutMode(measure=token_ratio, decide=drop, low=0.5, high=5.0),
    "sequence_truncate": RolloutMode(measure=sequence_ratio, decide=truncate, high=2.0),
    "sequence_mask": RolloutMode(measure=sequence_ratio, decide=drop, low=0.5, high=2.0),
    "seq_mean_k1": RolloutMode(measure=geometric_mean, decide=reject, low=0.999, high=1.001),
    "seq_mean_k3": RolloutMode(measure=mean_k3, decide=reject, high=0.01),
}
"""The modes of `rollout_weights` by name."""
