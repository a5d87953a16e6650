"""What our overrides of TRL's methods hand to one another through the frames of TRL between them.

TRL calls `_get_per_token_logps_and_entropies` and `_calculate_rewards` from inside its rollout and its
loss, without a word about what they are for. The outer override leaves one of these values on the
trainer for as long as its call lasts; the inner ones read it and fill it in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from maspo.core.apply import Applied

Batch = dict[str, Any]
"""Tensors of some completions, by TRL's names."""


def response_mask(inputs: Mapping[str, Any]) -> Tensor:
    """Mark the tokens that the policy wrote: those of the completion, without those of its tools."""
    mask = inputs["completion_mask"]
    return mask * inputs["tool_mask"] if "tool_mask" in inputs else mask


@dataclass
class RolloutPass:
    """A rollout is being made: sampled, scored by the old policy and the reference, rewarded."""

    old_policy_may_wait: bool
    """Whether the old policy's pass, the first one over the policy itself, may be left for later."""
    old_policy_waits: bool = False
    """Whether it was left for later."""
    rewards: Tensor | None = None
    """`[completions of all processes, reward functions]`, NaN where a function abstained."""


@dataclass
class OldPolicyPass:
    """The old policy is scored, for the updates of a rollout after the first."""

    live: Tensor
    """Bool `[rows]`: the rows whose log-probabilities are needed; the others get zeros."""


@dataclass
class LossPass:
    """The loss of a micro-batch is being computed."""

    inputs: Batch
    """TRL's batch; gets the advantages and old log-probabilities that make TRL's loss the objective's."""
    live: Tensor
    """Bool `[rows]`: the rows whose loss has a gradient; the others get zeros."""
    applied: Applied | None = None
    """The objective on this micro-batch."""


Pass = RolloutPass | OldPolicyPass | LossPass
