# pyright: reportMissingImports=false
"""Any objective as a loss of rLLM, by the entry point `rllm.losses`: nothing is to be imported.

algorithm:
  loss_fn: maspo
  loss_params: {alpha: 0.5}
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from maspo.engines.doors import Door
from maspo.engines.host import host_loss, objective_of
from maspo.engines.two_tokens import weights_through

DOOR = Door(
    title="rLLM",
    package="rllm",
    module="rllm",
    place="algorithm.loss_fn: maspo, by the entry point rllm.losses",
    tried="its loss.py at 6e23073 of the branch terminal-rl, by itself",
)


class RLLMLoss:
    """A loss of rLLM that optimises the objective of one name."""

    def __init__(self, name: str) -> None:
        """Take the name of the objective in `maspo.OBJECTIVES`."""
        self.objective_name = name

    def __call__(self, ctx: Any) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a `LossContext`, `[batch, time]` or `[time]`, by its own `aggregate`.

        `ctx.params` also hold settings of rLLM's own losses, of which none is read. Raises InputError.
        """
        objective = objective_of({"name": self.objective_name, **settings_in(ctx.params)})
        given = ctx.logp_curr, ctx.logp_old, ctx.advantages, ctx.action_mask
        found = host_loss(objective, *given, door=DOOR)
        metrics = {name: float(value) for name, value in found.metrics().items()}
        return ctx.aggregate(found.tokens, ctx.action_mask), metrics


RLLM_SETTINGS = ("eps_clip", "eps_clip_high", "kl_beta", "env_loss_coef")
"""What rLLM puts into `params` beside `loss_params`."""


def settings_in(params: dict[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters among `params`."""
    return {name: value for name, value in params.items() if name not in RLLM_SETTINGS}


def register() -> None:
    """Enter every objective in rLLM's registry: as `maspo.<name>`, and as `<name>` where that is free."""
    with DOOR.entered():
        from rllm.trainer.algorithms.loss import RLLM_LOSS_REGISTRY, register_loss

    from maspo.objectives import OBJECTIVES

    for name in OBJECTIVES:
        for word in {f"maspo.{name}", name} - RLLM_LOSS_REGISTRY.keys():
            register_loss(word)(RLLMLoss(name))


def probe(objective: str) -> Tensor:
    """Put two tokens through the loss as rLLM's registry returns it; see `weights_through`."""
    from rllm.trainer.algorithms.loss import LossContext, get_loss

    def of_two(new: Tensor, old: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
        context = LossContext(
            logp_curr=new, logp_old=old, advantages=advantages, action_mask=mask, obs_mask=~mask,
            aggregate=lambda x, _: x.sum(),
        )  # fmt: skip
        return get_loss(f"maspo.{objective}")(context)[0]

    return weights_through(of_two)


def __getattr__(name: str) -> Any:
    """Register when the entry point, which rLLM looks up and does not call, is looked up."""
    if name != "registered":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    register()
    return True
