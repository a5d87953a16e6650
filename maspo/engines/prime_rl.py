# pyright: reportMissingImports=false
"""Any objective as the loss of prime-rl.

[trainer.loss]
type = "custom"
import_path = "maspo.engines.prime_rl.loss"
kwargs = { objective = "maspo", alpha = 0.5 }
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from maspo.engines.doors import Door
from maspo.engines.host import host_loss, stale_objective
from maspo.engines.two_tokens import weights_through

DOOR = Door(
    title="prime-rl",
    package="prime-rl",
    module="prime_rl",
    place='[trainer.loss] type = "custom", import_path = "maspo.engines.prime_rl.loss"',
    tried="its loss.py at 559b447, by itself",
)

LOSS_INPUTS = {
    "trainer_logprobs": "log_probs",
    "inference_logprobs": "old_log_probs",
    "advantages": "advantages",
    "loss_mask": "mask",
}
"""prime-rl's words, all `[time]` of one sequence, and ours."""


@dataclass(frozen=True, kw_only=True)
class LossOutputs:
    """What prime-rl reads of a loss, by its names."""

    loss: Tensor
    metrics: dict[str, Tensor]


def loss(inputs: Any, objective: str = "maspo", **settings: Any) -> LossOutputs:
    """Return the loss of one sequence, summed over its mask; prime-rl divides by all tokens of the step.

    `inputs` is its `LossInputs`, `settings` are the hyperparameters of the objective. The old policy is
    the one that sampled, so gates act with a single update too; see `stale_objective` for `cap`.
    prime-rl averages metrics over sequences, each alike; those of no token are left out. Raises InputError.
    """
    made = stale_objective(DOOR, objective, tuple(sorted(settings.items())))
    missing = [name for name in LOSS_INPUTS if not hasattr(inputs, name)]
    if missing:
        raise DOOR.error(
            f"its LossInputs hold no {' and no '.join(missing)}; tried with {DOOR.tried}: take that version"
        )
    if inputs.loss_mask.dtype != torch.bool:
        raise DOOR.error(
            f"loss_mask must be bool, not {inputs.loss_mask.dtype}; give `loss_mask != 0`"
        )
    given = {ours: getattr(inputs, theirs) for theirs, ours in LOSS_INPUTS.items()}
    found = host_loss(made, **given, door=DOOR)
    tokens, weights = found.tokens, getattr(inputs, "loss_weights", None)
    if weights is not None:
        tokens = tokens * torch.where(inputs.loss_mask, weights, 0.0)
    return LossOutputs(loss=tokens.sum(), metrics=found.metrics())


def probe(objective: str) -> Tensor:
    """Put two tokens through the loss in prime-rl's own inputs; see `weights_through`."""
    from prime_rl.trainer.rl.loss import LossInputs

    def of_two(new: Tensor, old: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
        given = dict(zip(LOSS_INPUTS, (new[0], old[0], advantages[0], mask[0]), strict=True))
        return loss(LossInputs(ref_logprobs=None, **given), objective).loss

    return weights_through(of_two)
