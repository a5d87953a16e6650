"""From an objective and a batch of tokens to a loss: every engine passes through here.

    batch = TokenBatch.clean(log_probs, old_log_probs, advantages, mask)
    applied = apply_objective(objective, batch)
    loss = -reduce_tokens(applied.gain(log_probs), batch.mask, "token-mean")

An engine that sums by itself takes `gain`; one that wants the gradient as numbers takes `slopes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from maspo.core.batch import TokenBatch
from maspo.core.diagnostics import Mean, gate_metrics
from maspo.core.objective import Objective, Terms
from maspo.core.select import only
from maspo.core.shapes import Tokens


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What an objective makes of a batch; tensors are `[batch, time]`, detached, 0 under the mask."""

    batch: TokenBatch
    """The tokens it was applied to."""
    terms: Terms
    """What the objective itself says of them, without rollout weights."""
    weights: Tokens
    """w, the factor on A ∇log π, times the rollout weights."""
    slopes: Tokens
    """Derivative of the gain of each token by its log-probability: w A and the offset."""
    values: Tokens
    """Gain of each token, to be maximised; a number to report, see `Terms.surrogate`."""

    def gain(self, log_probs: Tokens) -> Tokens:
        """Return `values` as a function of `log_probs` whose derivative is `slopes`."""
        return with_slopes(self.values, self.slopes, log_probs)

    def metrics(self) -> dict[str, Mean]:
        """Describe what the gate did; see `gate_metrics` for the names."""
        with torch.no_grad():
            return gate_metrics(self.batch, self.terms)


@torch.no_grad()
def apply_objective(
    objective: Objective,
    batch: TokenBatch,
    rollout_weights: Tokens | None = None,
    match_norm: Objective | None = None,
) -> Applied:
    """Apply `objective` to `batch`; `rollout_weights`, `[batch, time]`, multiply any objective.

    With `match_norm` the coefficients of the batch on ∇log π are scaled by one number, so that the root
    of the sum of their squares, over all processes, is that of `match_norm` on the same tokens: a
    control that tells the shape of an objective from the size of its steps.

    What lies under the mask of `rollout_weights` may be anything. Raises InputError where the batch
    lacks one of `objective.inputs`.
    """
    terms = objective.terms(batch)
    weights, (slopes, values) = terms.weights, terms.slopes_and_values(batch)
    if rollout_weights is not None:
        factor = only(rollout_weights, batch.kept)
        weights, slopes, values = weights * factor, slopes * factor, values * factor
    if match_norm is not None:
        other = apply_objective(match_norm, batch, rollout_weights).slopes
        sums = batch.total(torch.stack([slopes.square().sum(), other.square().sum()]))
        scale = (sums[1] / sums[0]).sqrt() if sums[0] > 0 else sums.new_ones(())
        weights, slopes, values = weights * scale, slopes * scale, values * scale
    return Applied(batch=batch, terms=terms, weights=weights, slopes=slopes, values=values)


def with_slopes(values: Tokens, slopes: Tokens, log_probs: Tokens) -> Tokens:
    """Return a tensor equal to `values` whose derivative by `log_probs` is `slopes`.

    All are `[batch, time]`; `values` and `slopes` are constants, and 0 under the mask, where
    `log_probs` may be anything. The gradient has the dtype of `log_probs`.
    """
    return _WithSlopes.apply(log_probs, values, slopes)  # type: ignore[return-value]


class _WithSlopes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, log_probs: Tensor, values: Tensor, slopes: Tensor) -> Tensor:
        ctx.save_for_backward(slopes)
        ctx.dtype = log_probs.dtype
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (slopes,) = ctx.saved_tensors
        return (grad * slopes).to(ctx.dtype), None, None
