"""Library only: the pull back to a reference policy, estimators of KL(π, π_ref) from the sampled tokens.

The engines' KL term, `training.kl` of a recipe, is their framework's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maspo.core.batch import MAX_LOG_RATIO, TokenBatch, finite
from maspo.core.select import only
from maspo.core.settings import check_settings, setting
from maspo.core.shapes import Tokens
from maspo.errors import InputError

ESTIMATORS = ("k1", "k2", "k3", "k1+", "k3+", "abs")


@dataclass(frozen=True, kw_only=True)
class KL:
    """A penalty on leaving the reference policy, added to the loss of any objective.

        loss of a token = -J + coef · K        x = log π_ref - log π

        estimator   K              slope of K by log π
        k1          -x             1                      unbiased value; its gradient pulls nowhere
        k2          x² / 2         -x                     biased value; the gradient of the reverse KL
        k3          eˣ - x - 1     1 - eˣ                 unbiased value, never negative
        abs         |x|            sign(-x)
        k1+, k3+    as k1, k3      -x                     verl's straight-through: value and gradient right

    The penalty is reduced like the objective and no rollout weight, cap or mask of the objective
    touches it. In k3, x is held at ± 20, without gradient beyond, as in verl; TRL holds nothing.
    With `bias_correction` K becomes ρ K and its slope ρ (K + slope), ρ = π / π_old of the token, as
    by TRL's `use_bias_correction_kl`: once the policy has left π_old, the samples are π_old's. For
    k3 that slope is -ρ x, the gradient of the reverse KL, so k1+ and k3+ have no need of it.

    Source: k1 to k3 from John Schulman's note "Approximating KL divergence"; k3 in GRPO,
    arXiv:2402.03300. verl also holds the value of k3 at 10: `max_value`.
    """

    coef: float = setting(0.001, "β", "weight of the penalty, per nat", low=0, open_low=True)
    estimator: str = setting("k3", "K", "how a token estimates the divergence", choices=ESTIMATORS)
    max_value: float | None = setting(
        None,
        "M",
        "K is held at ± M nats, without gradient beyond; verl: 10 for k3; none: no bound",
        low=0,
        open_low=True,
        optional=True,
    )
    bias_correction: bool = setting(
        False, "ρ", "multiply by the ratio to the policy that sampled; not for k1+ and k3+"
    )

    def __post_init__(self) -> None:
        """Raise InputError for a setting outside its limits, and for a correction made twice."""
        check_settings(self)
        if self.bias_correction and self.estimator.endswith("+"):
            raise InputError(
                f"bias_correction does not go with {self.estimator}, whose gradient is set by hand; "
                f"take {self.estimator[:-1]}"
            )

    def terms(self, batch: TokenBatch, ref_log_probs: Tokens) -> tuple[Tokens, Tokens]:
        """Give K and its slope by log π, both `[batch, time]` and without `coef`.

        `ref_log_probs` is `[batch, time]`, in nats; what lies under the mask may be anything.
        """
        if ref_log_probs.shape != batch.mask.shape:
            expected = list(batch.mask.shape)
            raise ValueError(f"ref_log_probs must be {expected}, not {list(ref_log_probs.shape)}")
        x = finite(ref_log_probs, batch.mask) - batch.log_probs
        value, slope = estimate(self.estimator.removesuffix("+"), x)
        if self.max_value is not None:
            slope = only(slope, value.abs() <= self.max_value)
            value = value.clamp(-self.max_value, self.max_value)
        if self.estimator.endswith("+"):
            slope = -x
        if self.bias_correction:
            slope = batch.ratio * (slope + batch.intact(value))
            value = batch.ratio * value
        return value, slope


def estimate(estimator: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """Give value and slope of k1, k2, k3 or abs at x = log π_ref - log π."""
    if estimator == "k1":
        return -x, torch.ones_like(x)
    if estimator == "k2":
        return x.square() / 2, -x
    if estimator == "abs":
        return x.abs(), -x.sign()
    held = x.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    growth = held.exp()
    return growth - held - 1, only(1 - growth, x == held)
