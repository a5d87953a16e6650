# pyright: reportMissingImports=false
"""Any objective as a policy loss of Trinity-RFT.

algorithm:
  policy_loss_fn: maspo.engines.trinity_rft.MASPOPolicyLoss
  policy_loss_fn_args: {objective: maspo, alpha: 0.5}
"""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import Tensor

from maspo.core.reduction import DEFAULT_REDUCTION, reduce_tokens
from maspo.engines.doors import Door
from maspo.engines.host import host_loss, objective_of
from maspo.engines.two_tokens import weights_through

DOOR = Door(
    title="Trinity-RFT",
    package="trinity-rft",
    module="trinity",
    place="algorithm.policy_loss_fn: maspo.engines.trinity_rft.MASPOPolicyLoss",
    tried="0.6.0",
)


@cache
def _policy_loss() -> type:
    with DOOR.entered():
        from trinity.algorithm.policy_loss_fn import PolicyLossFn

    class MASPOPolicyLoss(PolicyLossFn):
        """A loss that means over a micro-batch, as every loss of Trinity-RFT does."""

        def __init__(
            self, backend: str = "verl", objective: str = "maspo",
            loss_agg_mode: str | None = None, max_length: int | None = None, **settings: Any,
        ) -> None:  # fmt: skip
            super().__init__(backend=backend)
            self.objective = objective_of({"name": objective, **settings})
            DOOR.check(self.objective)
            self.reduction = loss_agg_mode or self.objective.reduction or DEFAULT_REDUCTION
            self.max_length = max_length

        def __call__(self, logprob, old_logprob, action_mask, advantages, **kwargs):  # type: ignore
            """Return loss and metrics of `[batch, time]`, or `[time]` on its Tinker backend."""
            given = logprob, old_logprob, advantages, action_mask
            found = host_loss(self.objective, *given, door=DOOR)
            tokens = found.tokens if found.tokens.dim() == 2 else found.tokens[None]
            loss = reduce_tokens(
                tokens, found.applied.batch.mask, self.reduction, max_length=self.max_length
            )
            return loss, {name: float(value) for name, value in found.metrics().items()}

        @classmethod
        def default_args(cls) -> dict[str, Any]:
            return {"objective": "maspo"}

    return MASPOPolicyLoss


def __getattr__(name: str) -> Any:
    """Make the class, which derives from one of Trinity-RFT's, where it is asked for."""
    if name != "MASPOPolicyLoss":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _policy_loss()


def probe(objective: str) -> Tensor:
    """Put two tokens through the loss as Trinity-RFT's registry returns it; see `weights_through`."""
    from trinity.algorithm.policy_loss_fn import POLICY_LOSS_FN

    loss = POLICY_LOSS_FN.get(f"{__name__}.MASPOPolicyLoss")(
        objective=objective, loss_agg_mode="token-mean"
    )

    def of_two(new: Tensor, old: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
        given = {"old_log_probs": old, "advantages": advantages, "response_mask": mask}
        return 2 * loss(log_prob=new, **given)[0]

    return weights_through(of_two)
