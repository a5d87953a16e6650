# pyright: reportMissingImports=false
"""Any objective as a policy loss of SkyRL: `maspo.engines.skyrl.register(objective)` before training starts.

SkyRL divides the advantages by its normaliser before a loss sees them, and the loss sums. That changes
nothing for an objective whose gradient is proportional to A. For another, such as MASPO whose gate
looks at the size of A, the division is undone and done again behind the objective.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from maspo.core.batch import TokenBatch
from maspo.core.objective import Objective
from maspo.engines.doors import Door
from maspo.engines.host import host_loss, objective_of
from maspo.engines.two_tokens import weights_through

DOOR = Door(
    title="SkyRL",
    package="skyrl",
    module="skyrl",
    place="maspo.engines.skyrl.register(...), trainer.algorithm.policy_loss_type=maspo",
    tried="0.3.0",
)


class SkyRLLoss:
    """A policy loss of SkyRL, which calls it for every micro-batch with `[batch, time]` tensors."""

    def __init__(
        self, objective: Objective | str | Mapping[str, Any], sequences: int | None = None
    ) -> None:
        """Take an objective, and the completions of a mini-batch where the division has to be undone."""
        self.objective, self.sequences = objective_of(objective), sequences
        DOOR.check(self.objective)
        self.proportional = is_proportional(self.objective)

    def __call__(
        self, log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, config: Any = None,
        loss_mask: Tensor | None = None, **_: Any,
    ) -> tuple[Tensor, dict[str, float]]:  # fmt: skip
        """Return the sum over the mask, and metrics. Raises InputError."""
        mask = torch.ones_like(log_probs) if loss_mask is None else loss_mask
        divisor = 1.0 if self.proportional else self.divisor(mask, config)
        found = host_loss(
            self.objective, log_probs, old_log_probs, advantages * divisor, mask, door=DOOR
        )
        metrics = {name: float(value) for name, value in found.metrics().items()}
        return (found.tokens / divisor).sum(), metrics

    def divisor(self, mask: Tensor, config: Any) -> Tensor | float:
        """Return what SkyRL divided each advantage by, `[batch, 1]` or a number."""
        reduction = config.loss_reduction
        if reduction not in ("sequence_mean", "seq_mean_token_sum_norm") or not self.sequences:
            raise DOOR.error(
                f"{self.objective.title} looks at the size of the advantage, which is divided before a loss "
                f"sees it (loss_reduction={reduction}): take sequence_mean or seq_mean_token_sum_norm, and "
                "register(objective, sequences=policy_mini_batch_size * n_samples_per_prompt)"
            )
        if reduction == "sequence_mean":
            return self.sequences * mask.sum(-1, keepdim=True).clamp(min=1)
        return float(self.sequences * config.max_seq_len)


def is_proportional(objective: Objective) -> bool:
    """Whether the slope of a token is proportional to its advantage, on sequences of one token each."""
    steps = torch.linspace(-2.5, 2.5, 41, dtype=torch.float64).repeat(2)[:, None]
    old = torch.full_like(steps, -3.0)
    signs = torch.ones_like(steps)
    signs[41:] = -1
    slopes = []
    for size in (1.0, 1e-3, 50.0):
        batch = TokenBatch.clean(old + steps, old, signs * size, torch.ones_like(old))
        slopes.append(objective.terms(batch).slopes(batch.advantages) / size)
    return all(torch.allclose(slopes[0], other, rtol=1e-9) for other in slopes[1:])


def register(
    objective: Objective | str | Mapping[str, Any] = "maspo",
    name: str = "maspo",
    sequences: int | None = None,
) -> SkyRLLoss:
    """Enter an objective in SkyRL's registry under `name`, for `trainer.algorithm.policy_loss_type`."""
    with DOOR.entered():
        from skyrl.backends.skyrl_train.utils.ppo_utils import PolicyLossRegistry

    loss = SkyRLLoss(objective, sequences)
    PolicyLossRegistry.register(name, loss)
    return loss


def probe(objective: str) -> Tensor:
    """Put two tokens through the loss as SkyRL's registry returns it; see `weights_through`."""
    from skyrl.backends.skyrl_train.utils.ppo_utils import PolicyLossRegistry

    if "maspo probe" not in PolicyLossRegistry.list_available():
        register(objective, "maspo probe")
    found = PolicyLossRegistry.get("maspo probe")
    return weights_through(lambda new, old, a, mask: found(new, old, a, loss_mask=mask)[0])
