# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
# (this folder is named as the package it is for)
"""Any objective as a loss that runs beside Tinker's client, and a training step with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from maspo.core.reduction import DEFAULT_REDUCTION, reduce_tokens
from maspo.engines.host import host_loss, stale_objective
from maspo.engines.tinker.door import DOOR
from maspo.engines.two_tokens import two_tokens

DATUM_FIELDS = {"logprobs": "old_log_probs", "advantages": "advantages", "mask": "mask"}
"""What tinker-cookbook puts into `loss_fn_inputs`, `[time]` each, and our words for it."""

Loss = Callable[[Sequence[Any], Sequence[Tensor]], tuple[Tensor, dict[str, float]]]
"""A loss as `forward_backward_custom` takes it."""


def loss(
    objective: str = "maspo",
    *,
    reduction: str | None = None,
    denominator: float | None = None,
    max_length: int | None = None,
    **settings: Any,
) -> Loss:
    """Return a loss for `training_client.forward_backward_custom(data, loss(...))`.

    Each datum holds in `loss_fn_inputs` what tinker-cookbook puts there: `logprobs` of the sampler,
    `advantages` and `mask`; an objective that needs them also `entropies`, `[time]`, and `group`, a
    number of its prompt. Tinker divides by nothing: `reduction`, `denominator` and `max_length` are those of
    `maspo.policy_loss`, the other arguments hyperparameters; see `stale_objective` for `cap`.
    """
    made = stale_objective(DOOR, objective, tuple(sorted(settings.items())))
    how = {
        "reduction": reduction or made.reduction or DEFAULT_REDUCTION,
        "denominator": denominator,
        "max_length": max_length,
    }

    def objective_loss(
        data: Sequence[Any], logprobs: Sequence[Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        new = pad_sequence(list(logprobs), batch_first=True)
        given = {ours: _rows(data, theirs, logprobs) for theirs, ours in DATUM_FIELDS.items()}
        more: dict[str, Any] = {}
        if "entropies" in made.inputs:
            more["entropies"] = _rows(data, "entropies", logprobs)
        if "groups" in made.inputs:
            more["groups"] = torch.stack([field(x, "group").long().reshape(()) for x in data])
        found = host_loss(made, new, **given, door=DOOR, **more)
        total = reduce_tokens(found.tokens, found.applied.batch.mask, **how)
        return total, {name: float(value) for name, value in found.metrics().items()}

    return objective_loss


def field(datum: Any, name: str) -> Tensor:
    """Return a tensor of a datum's `loss_fn_inputs`; InputError where there is none."""
    if name not in datum.loss_fn_inputs:
        raise DOOR.error(
            f"a datum has no loss_fn_inputs[{name!r}]; put it there, as tinker-cookbook does"
        )
    return datum.loss_fn_inputs[name].to_torch()


def _rows(data: Sequence[Any], name: str, logprobs: Sequence[Tensor]) -> Tensor:
    rows = [field(datum, name) for datum in data]
    for number, (row, like) in enumerate(zip(rows, logprobs, strict=True)):
        if row.shape != like.shape:
            raise DOOR.error(
                f"loss_fn_inputs[{name!r}] of datum {number} must have one number for each target token, "
                f"{list(like.shape)}, and has the shape {list(row.shape)}"
            )
    return pad_sequence(rows, batch_first=True)


async def train_step(
    data: Sequence[Any],
    training_client: Any,
    learning_rate: float,
    objective: str = "maspo",
    *,
    substeps: int = 1,
    adam: dict[str, Any] | None = None,
    **settings: Any,
) -> list[dict[str, float]]:
    """Take `substeps` optimizer steps on parts of the data, and return the metrics of each.

    The `train_step` of tinker-cookbook with an objective of ours: it takes the name of a server's loss only.
    All requests are queued before the first result is waited for. `settings` are those of `loss`, `adam`
    the arguments of `tinker.AdamParams` beside the rate.
    """
    with DOOR.entered():
        import tinker

    if not 1 <= substeps <= len(data):
        raise DOOR.error(f"substeps must be 1 to {len(data)}, the number of data, not {substeps}")
    params = tinker.AdamParams(learning_rate=learning_rate, **(adam or {}))
    function, size = loss(objective, **settings), -(-len(data) // substeps)
    queued = []
    for start in range(0, len(data), size):
        part = list(data[start : start + size])
        passed = training_client.forward_backward_custom(part, function)
        queued.append((passed, training_client.optim_step(params)))
    metrics = []
    for passed, stepped in queued:
        found = await passed
        after = await stepped
        metrics.append({**found.metrics, **(after.metrics or {})})
    return metrics


def probe(objective: str) -> Tensor:
    """Put two tokens through the arithmetic of Tinker's client; see `weights_through`."""
    from tinker import Datum, ModelInput, types
    from tinker.lib.public_interfaces.training_client import TrainingClient

    new, old, advantages = (x[0].float() for x in two_tokens())
    inputs = {"target_tokens": torch.zeros(2, dtype=torch.long), "logprobs": old}
    inputs |= {"advantages": advantages, "mask": torch.ones(2)}
    datum = Datum(model_input=ModelInput.from_ints([1, 1]), loss_fn_inputs=inputs)
    scored = types.ForwardBackwardOutput("", [{"logprobs": types.TensorData.from_torch(new)}], {})
    found = TrainingClient._compute_custom_loss(
        [datum], loss(objective, reduction="token-mean"), scored
    )
    sent: Tensor = found.data[0].loss_fn_inputs["weights"].to_torch()
    return (2 * sent / advantages).double()
