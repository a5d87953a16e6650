# pyright: reportMissingImports=false
"""An objective as a loss that runs on Tinker's server, for `service_client.create_custom_loss`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from maspo.core.apply import apply_objective
from maspo.core.batch import TokenBatch
from maspo.core.objective import Objective
from maspo.core.reduction import reduce_tokens
from maspo.engines.host import stale_objective
from maspo.engines.tinker.door import DOOR
from maspo.engines.tinker.record import record
from maspo.errors import InputError

INPUT_RANKS = {"logprobs": 1, "old_logprobs": 1, "advantages": 1, "loss_weights": 1}
"""The tensors that the loss takes of each datum, all `[time]`, see `server_inputs`."""

TIMES = (3, 17)
"""Lengths of the sequences on which a recording is compared with its objective."""


def server_loss(
    objective: str = "maspo", **settings: Any
) -> tuple[Callable[..., tuple[Tensor, dict[str, Tensor]]], dict[str, int]]:
    """Return a loss and its `input_ranks`, for `service_client.create_custom_loss(*server_loss())`.

    The loss is Σ loss_weights x (loss of the token), which Tinker adds up over the data: `loss_weights`
    holds the reduction, and 0 where there is no token of the response. For objectives of single tokens or
    sequences. Raises InputError where the objective looks at more, or branches.
    """
    made = stale_objective(DOOR, objective, tuple(sorted(settings.items())))
    if made.couples_batch or made.inputs:
        raise DOOR.error(
            f"{made.title} looks at more than one sequence's log-probabilities, and a loss on the server is "
            "run sequence by sequence: use maspo.engines.tinker.loss, which runs here"
        )
    graph = recorded(made)

    def objective_loss(
        logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, loss_weights: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        fixed = logprobs.detach()
        found = graph.forward(fixed, old_logprobs, advantages, loss_weights)
        live = loss_weights != 0
        moved = torch.where(live, logprobs, 0.0) - torch.where(live, fixed, 0.0)
        tokens = found["values"] + found["slopes"] * moved
        loss = -(tokens * loss_weights).sum()
        metrics = {
            "custom/maspo/weight:sum": found["weights"].sum(),
            "custom/maspo/tokens:sum": live.sum(),
        }
        return loss, metrics

    return objective_loss, dict(INPUT_RANKS)


def recorded(objective: Objective) -> GraphModule:
    """Record the objective on one sequence, and prove the recording on others, in float64."""
    try:
        graph = record(lambda **given: _applied(objective, **given), _example(9))
        for time in TIMES:
            given = _example(time)
            expected = _applied(objective, **given)
            for name, value in graph.forward(*given.values()).items():
                torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12)
    except (InputError, AssertionError) as error:
        raise DOOR.error(
            f"{objective.title} cannot be written without branches: {str(error).splitlines()[0]}; use "
            "maspo.engines.tinker.loss, which runs here"
        ) from error
    return graph


def _applied(
    objective: Objective,
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    loss_weights: Tensor,
) -> dict[str, Tensor]:
    given = (logprobs, old_logprobs, advantages, loss_weights != 0)
    new, old, sizes, mask = (x.unsqueeze(0) for x in given)
    applied = apply_objective(objective, TokenBatch.clean(new, old, sizes, mask))
    names = ("values", "slopes", "weights")
    return {name: getattr(applied, name).squeeze(0) for name in names}


def _example(time: int) -> dict[str, Tensor]:
    """Make one sequence with ratios on both sides, broken ones, and a token that does not count."""
    draw = torch.Generator().manual_seed(time)
    old, step, advantages = torch.randn(3, time, generator=draw, dtype=torch.float64)
    old = -old.abs() - 0.01
    step[0] *= 30
    weights = torch.full_like(old, 1 / time)
    weights[-1] = 0
    new = (old + step).clamp(max=0)
    return dict(zip(INPUT_RANKS, (new, old, advantages, weights), strict=True))


def server_inputs(
    data: Sequence[Any],
    *,
    reduction: str = "token-mean",
    denominator: float | None = None,
    max_length: int | None = None,
) -> list[Any]:
    """Return the data with what `server_loss` takes: `old_logprobs` and `loss_weights`.

    They come from `logprobs` and `mask`, which tinker-cookbook puts into a datum; the arguments are those
    of `maspo.policy_loss`.
    """
    from torch.nn.utils.rnn import pad_sequence

    from maspo.engines.tinker.client import field

    masks = [field(datum, "mask") != 0 for datum in data]
    rectangle = pad_sequence(masks, batch_first=True)
    ones = rectangle.double().requires_grad_()
    how = {"reduction": reduction, "denominator": denominator, "max_length": max_length}
    reduce_tokens(ones * rectangle, rectangle, **how).backward()  # its weights are its gradient
    weights: Any = ones.grad
    changed = []
    for datum, row in zip(data, weights, strict=True):
        old = field(datum, "logprobs")
        inputs: Mapping[str, Any] = {
            "target_tokens": datum.loss_fn_inputs["target_tokens"],
            "old_logprobs": old,
            "advantages": field(datum, "advantages"),
            "loss_weights": row[: len(old)].to(old.dtype),
        }
        changed.append(type(datum)(model_input=datum.model_input, loss_fn_inputs=dict(inputs)))
    return changed
