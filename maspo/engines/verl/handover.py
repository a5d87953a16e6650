# pyright: reportMissingImports=false
"""What verl knows in a loss and does not hand to policy losses: entropies, and the group of processes.

`ppo_loss` has both, as `model_output["entropy"]` and `dp_group`, and calls a policy loss with neither.
The plug-in puts `telling(ppo_loss)` in its place: it does what it did, and while it runs a loss of ours
can ask `handed_over()`. Two more arguments at that call would make all of this superfluous.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class HandedOver:
    """What the call of `ppo_loss` that is going on knows."""

    entropies: Tensor | None = None
    """Of the policy at each token, `[batch, time]`, in nats; none unless `actor.calculate_entropy` is set."""
    group: Any = None
    """The data-parallel processes, each of which takes the same number of micro-batches."""

    def total(self, sums: Tensor) -> Tensor:
        """Add up a tensor over the data-parallel processes."""
        if self.group is None or torch.distributed.get_world_size(self.group) == 1:
            return sums
        summed = sums.clone()
        torch.distributed.all_reduce(summed, group=self.group)
        return summed


_NOTHING = HandedOver()
_GOING_ON: ContextVar[HandedOver] = ContextVar("ppo_loss", default=_NOTHING)


def handed_over() -> HandedOver:
    """Return what is known of the call of verl's `ppo_loss` that is going on; nothing outside of one."""
    return _GOING_ON.get()


def telling(ppo_loss: Callable[..., Any]) -> Callable[..., Any]:
    """Return verl's `ppo_loss`, which also tells `handed_over` while it runs."""
    from verl.workers.utils.padding import no_padding_2_padding

    @wraps(ppo_loss)  # keeps the name by which Ray sends it
    def told(config: Any, model_output: Any, data: Any, dp_group: Any = None) -> Any:
        entropies = model_output.get("entropy")
        if entropies is not None:
            entropies = no_padding_2_padding(entropies.detach(), data)
        known = _GOING_ON.set(HandedOver(entropies=entropies, group=dp_group))
        try:
            return ppo_loss(config=config, model_output=model_output, data=data, dp_group=dp_group)
        finally:
            _GOING_ON.reset(known)

    return told


def tell_losses() -> None:
    """Have verl's `ppo_loss` tell our losses; before any module of verl's has taken it."""
    from verl.workers.utils import losses

    if not hasattr(losses.ppo_loss, "__wrapped__"):
        losses.ppo_loss = telling(losses.ppo_loss)
