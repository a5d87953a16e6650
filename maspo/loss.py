"""`policy_loss`: one call from log-probabilities to a loss with the right gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from maspo.core.apply import apply_objective
from maspo.core.batch import TokenBatch
from maspo.core.checks import check_inputs
from maspo.core.diagnostics import Mean, mean_over
from maspo.core.kl import KL
from maspo.core.objective import Objective
from maspo.core.reduction import DEFAULT_REDUCTION, reduce_tokens
from maspo.core.select import only
from maspo.core.shapes import AnyMask, Groups, Scalar, Tokens, TokensOrRows
from maspo.errors import InputError
from maspo.objectives import as_objective


@dataclass(frozen=True)
class PolicyLoss:
    """A loss and what it was made of."""

    loss: Scalar
    """Scalar to be minimised, differentiable in `log_probs`."""
    weights: Tokens
    """w, `[batch, time]`, detached, 0 under the mask: d loss_t / d log_prob_t = -w A before reduction."""
    metrics: dict[str, Mean]
    """What the gate did; `float(metrics[name])` is the number, see `gate_metrics` for the names.
    With a KL term also `maspo/kl`, its mean over the tokens, without its weight."""


def policy_loss(
    log_probs: Tokens,
    old_log_probs: Tokens,
    advantages: TokensOrRows,
    mask: AnyMask,
    *,
    objective: Objective | str,
    reduction: str | None = None,
    denominator: Tensor | float | None = None,
    max_length: int | None = None,
    rollout_weights: Tokens | None = None,
    ref_log_probs: Tokens | None = None,
    kl: KL | None = None,
    entropies: Tokens | None = None,
    groups: Groups | None = None,
    sum_over_processes: Callable[[Tensor], Tensor] | None = None,
    diagnostics: bool = True,
) -> PolicyLoss:
    """Compute the loss of a policy objective on sampled tokens.

    Args:
        log_probs: `[batch, time]`, log π of the sampled tokens, in nats; the gradient flows here.
        old_log_probs: `[batch, time]`, the same under the policy that the update started from.
        advantages: `[batch]` or `[batch, time]`; for a method that has an estimator of its own, such
            as Dr. GRPO, those of `estimate_advantages(rewards, objective.advantages)`.
        mask: `[batch, time]`, bool or 0/1; what lies under 0 may be NaN or infinite and changes
            nothing.
        objective: a value such as `maspo.MASPO(alpha=0.5)`, or a name in `maspo.OBJECTIVES`.
        reduction: how tokens become one number, see `maspo.core.reduction`; without it that of the
            objective's paper, `objective.reduction`, or token-mean where the paper has none.
        denominator: the count that the reduction divides by, over the whole optimizer step and all
            ranks; without it, that of this batch.
        max_length: the constant of seq-mean-token-sum-norm, in tokens.
        rollout_weights: `[batch, time]` detached factors that correct for the difference between
            the engine that sampled and the old policy (see `maspo.rollout_weights`); they multiply
            any objective, and not the KL term.
        ref_log_probs: `[batch, time]`, log π_ref of the policy that `kl` pulls back to.
        kl: a penalty such as `maspo.KL(coef=0.04)`, added to the loss of every token.
        entropies: `[batch, time]` in nats, for the objectives that use them.
        groups: `[batch]`, int, the same for all answers to a prompt, for the objectives that use them;
            each group whole.
        sum_over_processes: adds up a tensor over all processes, for the objectives that couple the
            batch (`couples_batch`) where each process holds a part of it. Such an objective calls
            it once a loss, on every process.
        diagnostics: describe the gate in `metrics`; without, `metrics` is empty and the call cheaper.

    Half precision is computed in float32, float64 in float64. Raises ValueError for shapes that do
    not agree, and InputError for an unknown objective or reduction, for a reduction without its
    `max_length`, for one of `kl` and `ref_log_probs` without the other, for a mask of other numbers
    than 0 and 1, and for what cannot be log-probabilities: integers, a value above 1, and values
    that are all above 0, as probabilities are.
    """
    if (kl is None) != (ref_log_probs is None):
        raise InputError("kl and ref_log_probs go together: give both or neither")
    objective = as_objective(objective)
    if reduction is None:
        reduction = objective.reduction or DEFAULT_REDUCTION
    batch = TokenBatch.clean(
        log_probs, old_log_probs, advantages, mask, entropies, sum_over_processes, groups
    )
    check_inputs(batch, log_probs, old_log_probs, mask, ref_log_probs)
    applied = apply_objective(objective, batch, rollout_weights)
    metrics = applied.metrics() if diagnostics else {}
    if kl is not None and ref_log_probs is not None:
        with torch.no_grad():
            divergence, pull = (only(x, batch.kept) for x in kl.terms(batch, ref_log_probs))
            applied = replace(
                applied,
                values=applied.values - kl.coef * divergence,
                slopes=applied.slopes - kl.coef * pull,
            )
            if diagnostics:
                metrics["maspo/kl"] = mean_over(divergence, batch.mask)
    gain = reduce_tokens(
        applied.gain(log_probs),
        batch.mask,
        reduction,
        denominator=denominator,
        max_length=max_length,
    )
    return PolicyLoss(loss=-gain, weights=applied.weights, metrics=metrics)
