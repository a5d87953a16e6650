# pyright: reportMissingImports=false
"""An objective as one of verl's policy losses.

verl is imported inside the functions: importing it imports our plug-in, which imports this module.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from maspo.core.apply import Applied, apply_objective
from maspo.core.batch import MAX_LOG_RATIO, TokenBatch
from maspo.core.diagnostics import Mean, mean_over
from maspo.core.objective import Objective
from maspo.engines.supported import default_of, refuse_owned
from maspo.engines.verl.handover import handed_over
from maspo.engines.verl.limits import check_coupling, check_objective
from maspo.engines.verl.names import (
    OWNED_BY_THE_OBJECTIVE,
    SETTINGS,
    SUPPORTED,
    estimator_settings,
)
from maspo.errors import InputError
from maspo.objectives import make_objective


class VerlLoss:
    """A policy loss of verl that optimises one of our objectives.

    verl calls it for every micro-batch, by keyword. The hyperparameters are those of
    `config.policy_loss` where that is a `MASPOPolicyLossConfig`, else the objective's defaults. The
    sum over tokens is verl's own `agg_loss` with its global counts, so any split gives the same
    gradient.
    """

    def __init__(self, name: str) -> None:
        """Take the name of the objective in `maspo.OBJECTIVES`."""
        self.objective_name = name

    def __call__(
        self,
        old_log_prob: Tensor,
        log_prob: Tensor,
        advantages: Tensor,
        response_mask: Tensor,
        loss_agg_mode: str = "token-mean",
        config: Any = None,
        rollout_is_weights: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, np.ndarray]]:
        """Give the loss, a scalar differentiable in `log_prob`, and verl's metrics and ours.

        All tensors are `[batch, time]`; `rollout_is_weights` multiply value and gradient. Raises
        InputError for what cannot be honoured: see `check_loss_settings`, `check_method` and
        `maspo.engines.verl.limits`.
        """
        from verl.trainer.ppo.core_algos import agg_loss

        from maspo.engines.verl.metrics import pooled

        objective = self.objective(config)
        check_objective(objective)
        check_loss_settings(config, loss_agg_mode)
        check_method(objective, config, loss_agg_mode)
        self._check_coupling(objective, len(log_prob), config)
        told = handed_over()
        batch = TokenBatch.clean(
            log_prob, old_log_prob, advantages, response_mask,
            entropies=told.entropies, sum_over_processes=told.total,
        )  # fmt: skip
        applied = apply_objective(objective, batch, rollout_is_weights)
        metrics = applied.metrics() | clip_metrics(applied)
        loss = agg_loss(
            loss_mat=-applied.gain(log_prob),
            loss_mask=response_mask,
            loss_agg_mode=loss_agg_mode,
            **config.global_batch_info,
        )
        return loss, pooled({f"actor/{name}": mean for name, mean in metrics.items()})

    def _check_coupling(self, objective: Objective, rows: int, config: Any) -> None:
        part = rows * config.global_batch_info.get("dp_size", 1)
        whole = config.global_batch_info.get("global_batch_size") or part
        check_coupling(objective, part, whole, config.policy_loss.get("coupling"))

    def objective(self, config: Any) -> Objective:
        """Give the objective with the hyperparameters of verl's actor settings."""
        made: Objective | None = config.policy_loss.get("made")
        return make_objective(self.objective_name) if made is None else made


@torch.no_grad()
def clip_metrics(applied: Applied) -> dict[str, Mean]:
    """Fill verl's own names: tokens whose gradient the objective cuts, and the divergence.

    `pg_clipfrac_lower` counts those with A < 0 and ρ > 1, on the side where only a cap (dual clip)
    cuts, `pg_clipfrac` the others; `ppo_kl` is the mean of -log ρ. All are shares of all tokens, as in
    verl, and for GRPO equal to what `vanilla` reports.
    """
    batch = applied.batch
    slopes = applied.terms.slopes(batch.advantages)
    cut = batch.mask & (batch.advantages != 0) & (slopes == 0)
    lower = cut & (batch.advantages < 0) & (batch.ratio > 1)
    drift = -batch.log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return {
        "pg_clipfrac": mean_over((cut & ~lower).to(drift), batch.mask),
        "pg_clipfrac_lower": mean_over(lower.to(drift), batch.mask),
        "ppo_kl": mean_over(drift, batch.mask),
    }


def check_loss_settings(config: Any, loss_agg_mode: str) -> None:
    """Raise InputError for a setting of verl's own losses, and for a denominator that varies."""
    from verl.workers.config import ActorConfig, PolicyLossConfig

    settings = []
    for name in OWNED_BY_THE_OBJECTIVE:
        section, _, key = name.rpartition(".")
        kind, given = (PolicyLossConfig, config.policy_loss) if section else (ActorConfig, config)
        default = default_of(kind, key)
        settings.append((f"actor.{name}", given.get(key, default), default))
    refuse_owned(SUPPORTED, settings, "on the objective, under actor.policy_loss.objective")
    said = config.policy_loss.get("reduction")
    if said not in (None, loss_agg_mode):
        raise InputError(
            f"policy_loss.reduction={said} contradicts actor.loss_agg_mode={loss_agg_mode}"
        )
    if loss_agg_mode == "seq-mean-token-sum-norm" and config.loss_scale_factor is None:
        raise InputError(
            "seq-mean-token-sum-norm would divide by the width of each micro-batch; set "
            "actor.loss_scale_factor, for example to data.max_response_length"
        )


def check_method(objective: Objective, config: Any, loss_agg_mode: str) -> None:
    """Raise InputError where verl's defaults would make another method of the objective, or none.

    Its reduction is verl's to apply, and its advantages are computed where a loss cannot see them.
    """
    actor = "actor_rollout_ref.actor"
    loss = config.policy_loss
    if "entropies" in objective.inputs and not (config.calculate_entropy or config.entropy_coeff):
        raise InputError(f"{objective.title} needs entropies: set {actor}.calculate_entropy=True")
    own = objective.reduction
    untouched = loss_agg_mode == default_of(type(config), "loss_agg_mode")
    if untouched and own not in (None, loss_agg_mode) and loss.get("reduction") is None:
        raise InputError(
            f"{objective.title} has the reduction {own}, and verl would take {loss_agg_mode}: set "
            f"{actor}.loss_agg_mode={own}, or, where verl's is meant, "
            f"{actor}.policy_loss._target_={SETTINGS} and "
            f"+{actor}.policy_loss.reduction={loss_agg_mode}"
        )
    own = objective.advantages
    if own is not None and loss.get("advantages") is None:
        settings = " ".join(f"{key}={value}" for key, value in estimator_settings(own).items())
        raise InputError(
            f"{objective.title} has advantages of its own, {own}, which a loss of verl cannot see: set "
            f"{settings}, and say so by {actor}.policy_loss._target_={SETTINGS} and "
            f"+{actor}.policy_loss.advantages={own}"
        )
