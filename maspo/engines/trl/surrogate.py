"""The objective in the place of TRL's surrogate.

TRL's `_compute_loss` runs the model first and reads the advantages and the old log-probabilities
after that. So the objective is put in between: once the log-probabilities of a loss pass are known,
the batch gets advantages A' for which TRL's own surrogate, ratio times A', has the value and the
gradient of the objective, and TRL's clip is opened. The ratio stays the true one, which the bias
correction of TRL's KL term looks at.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from maspo.core.apply import apply_objective
from maspo.core.batch import TokenBatch
from maspo.engines.host import surrogate
from maspo.engines.trl.config import MASPOConfig
from maspo.engines.trl.handover import LossPass, response_mask


def put_objective(
    one: LossPass,
    log_probs: Tensor,
    entropies: Tensor | None,
    args: MASPOConfig,
    sum_over_processes: Callable[[Tensor], Tensor],
) -> None:
    """Give a batch the advantages and old log-probabilities that make TRL's loss the objective's.

    Args:
        one: the loss under way; its `inputs` are changed, `applied` is set.
        log_probs: of the policy, with gradient, `[rows, time]`.
        entropies: of the policy, `[rows, time]`, where TRL asked for them.
        args: name the objective, and the norm that its coefficients are scaled to.
        sum_over_processes: for objectives that couple the batch.
    """
    inputs = one.inputs
    old = inputs.get("old_per_token_logps")
    batch = TokenBatch.clean(
        log_probs,
        log_probs.detach() if old is None else old,
        inputs["advantages"],
        response_mask(inputs),
        entropies,
        sum_over_processes,
        inputs.get("groups"),
    )
    one.applied = applied = apply_objective(
        args.objective, batch, inputs.get("rollout_weights"), args.match_norm
    )
    inputs["advantages"], inputs["old_per_token_logps"] = surrogate(applied, log_probs)
