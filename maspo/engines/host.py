"""An objective as the loss of another trainer: what all doors share.

    found = host_loss(objective, log_probs, old_log_probs, advantages, mask, door=DOOR)
    return found.tokens.sum(), found.metrics()

A door translates the host's words and leaves the sum over tokens to the host. A host whose surrogate
cannot be replaced, only fed, takes `surrogate`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from maspo.core.apply import Applied, apply_objective, with_slopes
from maspo.core.batch import MAX_LOG_RATIO, TokenBatch
from maspo.core.checks import check_inputs
from maspo.core.diagnostics import Mean
from maspo.core.objective import Objective
from maspo.engines.doors import Door
from maspo.objectives import as_objective, make_objective

STALE_CAP = 10.0
"""Where old log-probabilities are the sampler's: the weight that a token with A < 0 keeps when its ratio is
greater, unless the objective bounds that side itself or `cap` is given."""


@dataclass(frozen=True, kw_only=True)
class HostLoss:
    """What a host gets: a loss of each token, and numbers to log."""

    tokens: Tensor
    """Loss of each token, in the shape of `log_probs`, differentiable in them, 0 under the mask."""
    applied: Applied
    """What it was made of, `[batch, time]`."""

    def metrics(self) -> dict[str, Tensor]:
        """Return scalars that describe the gate, float64, on the CPU; those of no token are absent."""
        return defined(self.applied.metrics())


def host_loss(
    objective: Objective | str | Mapping[str, Any],
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    door: Door,
    entropies: Tensor | None = None,
    groups: Tensor | None = None,
) -> HostLoss:
    """Apply an objective to the tensors of a host.

    Args:
        objective: a value, a name, or a mapping of `name` and hyperparameters.
        log_probs: `[batch, time]`, or `[time]` of one sequence; in nats; the gradient flows here.
        old_log_probs: the same under the policy that the ratio is against.
        advantages: of each token, in the same shape.
        mask: the same shape, bool or 0 and 1; what lies under 0 may be anything.
        door: whose tensors they are; errors begin with its title.
        entropies: the same shape, in nats, for the objectives that use them.
        groups: `[batch]`, int, for the objectives that compare answers to a prompt.

    Raises InputError, in a sentence that names the host and the cure, for tensors that are missing or
    of another shape, for a mask of other numbers, for what cannot be log-probabilities, and for
    an objective that the door cannot carry.
    """
    objective = objective_of(objective)
    door.check(objective)
    given = {
        "log_probs": log_probs,
        "old_log_probs": old_log_probs,
        "advantages": advantages,
        "mask": mask,
    }
    _check_shapes(door, given)
    one = log_probs.dim() == 1
    new, old, sizes, kept = (x[None] if one else x for x in given.values())
    entropies = entropies[None] if one and entropies is not None else entropies
    try:
        batch = TokenBatch.clean(new, old, sizes, kept, entropies, groups=groups)
        check_inputs(batch, new, old, kept)
    except ValueError as error:
        raise door.error(str(error)) from None
    applied = apply_objective(objective, batch)
    tokens = -applied.gain(new)
    return HostLoss(tokens=tokens[0] if one else tokens, applied=applied)


def _check_shapes(door: Door, given: Mapping[str, Any]) -> None:
    for name, tensor in given.items():
        if not isinstance(tensor, Tensor):
            raise door.error(
                f"{name} must be a tensor, not {type(tensor).__name__}; does this version hand it over?"
            )
    shape = given["log_probs"].shape
    if len(shape) not in (1, 2):
        raise door.error(f"log_probs must be [batch, time] or [time], not {list(shape)}")
    for name, tensor in given.items():
        if tensor.shape != shape:
            raise door.error(
                f"{name} must have one number for each token, {list(shape)}, and has the shape "
                f"{list(tensor.shape)}; spread what belongs to a sequence over its tokens"
            )


def objective_of(given: Objective | str | Mapping[str, Any]) -> Objective:
    """Return an objective, from a value, a name, or a mapping of `name` and hyperparameters."""
    if isinstance(given, Mapping):
        return make_objective(**{"name": "maspo", **given})
    return as_objective(given)


def defined(means: Mapping[str, Mean]) -> dict[str, Tensor]:
    """Return the means as scalars, in one transfer, without those of nothing."""
    sums = [torch.stack([mean.total.double(), mean.weight.double()]) for mean in means.values()]
    pairs = torch.stack(sums).cpu()
    return {
        name: total / weight for name, (total, weight) in zip(means, pairs, strict=True) if weight
    }


@cache
def stale_objective(door: Door, objective: str, settings: tuple[tuple[str, Any], ...]) -> Objective:
    """Make an objective for a host whose old log-probabilities are the sampler's, and log it once.

    `settings` are its hyperparameters. Where they do not name `cap`, and the weight of a token with A < 0
    grows with its ratio, it is held at `STALE_CAP`: such a token keeps its gradient. A cap that drops it
    lost in every trial (docs/studies/stale).
    """
    made = make_objective(objective, **dict(settings))
    door.check(made)
    bound = "is the objective's own matter"
    if "cap" in dict(settings):
        bound = "is bounded as `cap` says"
    elif grows_without_bound(made):
        made = replace(made, cap=STALE_CAP, soft_cap=True)
        bound = f"is held at {STALE_CAP:g}; set `cap` for another bound, or None for none"
    if os.environ.get("RANK", "0") == "0":
        where = "with A < 0 the weight of a token whose ratio is large"
        logging.getLogger(__name__).warning(
            "%s optimises %s: %s %s", door.title, made, where, bound
        )
    return made


def grows_without_bound(objective: Objective) -> bool:
    """Whether the weight of a token with A < 0 exceeds `STALE_CAP` at a ratio far above it."""
    old, new = (torch.tensor([[x]], dtype=torch.float64) for x in (-12.0, -1.0))
    zeros, mask = torch.zeros_like(old), torch.ones(1, 1, dtype=torch.bool)
    groups = torch.zeros(1, dtype=torch.long)
    batch = TokenBatch.clean(new, old, zeros - 1, mask, zeros, groups=groups)
    return bool(objective.terms(batch).weights.max() > STALE_CAP)


def surrogate(applied: Applied, log_probs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the advantages and old log-probabilities that make a host's open surrogate the objective.

    With its clip open a host computes ratio times advantage. With these it has the value and the
    gradient of the objective, and the ratio stays the true one, held at its bounds. Both `[batch, time]`.
    """
    # The ratio's own slope already contributes the value.
    values, slopes, batch = applied.values, applied.slopes, applied.batch
    advantages = with_slopes(values, slopes - values, log_probs) / batch.ratio
    bounded = batch.log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return advantages, log_probs.detach() - bounded
