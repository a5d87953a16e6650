"""How the policy is updated."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from maspo.core.advantages import ROLLOUT_ADVANTAGES
from maspo.core.reduction import REDUCTIONS
from maspo.recipes.sections.base import BY_NAME_OR_NONE, Count, Positive, Section

Beta = Annotated[float, Field(ge=0, lt=1)]


class Optimizer(Section):
    """AdamW, whose learning rate, weight decay and gradient clipping stand beside this section."""

    name: Literal["adamw_fused", "adamw", "adamw_8bit"] = "adamw_fused"
    """adamw_fused and adamw: PyTorch's, in one kernel or not; adamw_8bit: with moments in 8 bits, from
    bitsandbytes."""
    betas: Annotated[list[Beta], Field(min_length=2, max_length=2)] = [0.9, 0.999]
    """Decay of the first and of the second moment, per step."""
    eps: Positive = 1e-8
    """Added to the root of the second moment."""


class Training(Section):
    """How the policy is updated."""

    rollouts: Count = 100
    """Rounds of sampling and updating."""
    updates_per_rollout: Count = 4
    """Optimizer steps on each rollout; with 1 no gate acts."""
    micro_batch: Count = 32
    """Completions in one forward and backward pass of one process."""
    learning_rate: Positive = 1e-6
    """Of AdamW, at the top of the schedule."""
    schedule: Literal["constant", "constant_with_warmup", "linear", "cosine"] = "constant"
    """Course of the learning rate; linear and cosine fall to 0 at the end of the run."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Optimizer steps in which the learning rate rises from 0; none with `constant`."""
    optimizer: Optimizer = Optimizer()
    """Which AdamW, the same in both engines."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Of AdamW, per step and learning rate."""
    max_grad_norm: Positive = 1.0
    """A gradient with a larger norm is scaled down to it."""
    reduction: (
        Literal[
            "token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm"
        ]
        | None
    ) = None
    """How token losses become one number; without it as the objective's paper has it."""
    advantages: Literal["group", "center", "loo", "batch", "whiten", "gpg"] | None = None
    """How rewards become advantages; without it as the objective's paper has it."""
    match_norm: Annotated[dict[str, Any] | None, BY_NAME_OR_NONE] = None
    """An objective, as under `objective`: the coefficients of every micro-batch are scaled by one number,
    so that their root mean square is that objective's. A control for races. TRL only."""
    coupling: Literal["micro_batch"] | None = None
    """For objectives that couple the batch (`bapo`, `clip_cov`, ...): `micro_batch` lets them couple a
    micro-batch of all processes, as released code does; null: so too with TRL, which warns where that
    is not the whole update, and verl refuses."""
    kl: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the KL divergence from the initial model; 0 spares the reference model."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the arithmetic; auto: bfloat16 where the GPU has it, or the CPU has and the model 10M parameters."""
    gradient_checkpointing: bool = False
    """Compute activations anew in the backward pass: less memory, more time."""
    save_every: Count | None = 10
    """Rollouts between checkpoints, from which an interrupted run goes on; none are written without it."""
    keep: Annotated[int, Field(ge=0)] = 1
    """Checkpoints left when the run is over, the newest; without one it cannot be extended. While it goes
    on there are at least two."""
    save_tokens: Annotated[int, Field(ge=0)] = 8
    """Updates whose tokens are kept, spread over the run, for `maspo replay` and the report; about 140 kB
    each. TRL only."""

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.rollouts * self.updates_per_rollout


def _words(field: str) -> set[str]:
    """List the words that a field of `Training` may hold."""
    literal, _ = get_args(Training.model_fields[field].annotation)
    return set(get_args(literal))


assert _words("reduction") == set(REDUCTIONS)
assert _words("advantages") == set(ROLLOUT_ADVANTAGES)
