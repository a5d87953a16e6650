"""A host's own trainer whose surrogate is fed: advantages that make its open loss the objective's.

For trainers that score the policy inside their loss and read advantages and old log-probabilities after
that. The trainer's own clip has to be open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from maspo.core.objective import Objective
from maspo.engines.doors import Door
from maspo.engines.host import host_loss, surrogate

TRL_LOSS_SETTINGS = {
    "epsilon": 0.2, "epsilon_high": None, "delta": None, "importance_sampling_level": "token",
}  # fmt: skip
"""Settings of TRL's own losses that a host on TRL has too, and their defaults."""


def feed(
    objective: Objective,
    log_probs: Tensor,
    old: Tensor | None,
    advantages: Tensor,
    mask: Tensor,
    entropies: Tensor | None,
    *,
    door: Door,
) -> tuple[Tensor, Tensor, dict[str, float]]:
    """Return advantages and old log-probabilities, `[batch, time]`, and what to log.

    `advantages` may be `[batch]`; without `old` the policy is the one that sampled.
    """
    if advantages.dim() == 1:
        advantages = advantages[:, None].expand_as(log_probs)
    old = log_probs.detach() if old is None else old
    entropies = None if entropies is None else entropies.detach()
    given = log_probs, old, advantages, mask
    found = host_loss(objective, *given, door=door, entropies=entropies)
    metrics = {name: float(value) for name, value in found.metrics().items()}
    return *surrogate(found.applied, log_probs), metrics


def check_fed(batch: Any, *, door: Door) -> None:
    """Raise InputError where a loss was computed and nothing was fed: `batch` is what it was to be fed."""
    if batch is not None:
        raise door.error(
            f"its loss does not score the policy where it did, so the objective was not reached; tried with "
            f"{door.tried}: take that"
        )


def open_clip(trainer: Any, args: Any, owned: Mapping[str, Any], *, door: Door) -> None:
    """Open the trainer's clip; InputError for a setting of its own losses, `owned` with their defaults."""
    for name, default in owned.items():
        if getattr(args, name, default) != default:
            raise door.error(
                f"{name} is of its own losses and would do nothing here; set it on the objective"
            )
    if args.loss_type not in ("grpo", "bnpo", "dapo", "dr_grpo", "luspo"):
        raise door.error(
            f"loss_type={args.loss_type} is a loss of its own; take grpo, bnpo, dapo or dr_grpo, which only "
            "say how tokens are averaged"
        )
    trainer.epsilon_low = trainer.epsilon_high = math.inf
