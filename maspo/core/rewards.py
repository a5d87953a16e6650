"""Rewards before they become advantages; rewards are `[prompts, samples]`, a row being a group."""

from __future__ import annotations

import torch
from torch import Tensor

from maspo.errors import InputError


def checked_rewards(rewards: Tensor) -> Tensor:
    """Detach and widen rewards to float32, float64 staying.

    Raises ValueError where they are not `[prompts, samples]`, InputError where one is NaN or infinite.
    """
    if rewards.dim() != 2 or rewards.numel() == 0:
        raise ValueError(f"rewards must be [prompts, samples], not {list(rewards.shape)}")
    rewards = rewards.detach()
    rewards = rewards.to(torch.promote_types(rewards.dtype, torch.float32))
    lost = ~rewards.isfinite()
    if lost.any():
        prompt, sample = lost.nonzero()[0].tolist()
        raise InputError(
            f"the reward of sample {sample} of prompt {prompt} is {float(rewards[prompt, sample])}; "
            "every sample needs a finite reward"
        )
    return rewards


def live_groups(rewards: Tensor) -> Tensor:
    """Tell the groups that teach something: bool `[prompts]`, false where all rewards are equal.

    Equal means exactly equal, so the rounding of a mean makes no signal; a group of one is dead.
    DAPO's dynamic sampling (arXiv:2503.14476) drops the dead groups and samples until the batch is
    full again. This tells which to drop; refilling is for whoever samples. The TRL engine does not
    refill, because TRL does not: a dead group keeps its place in the batch, with advantages of 0.
    Raises what `checked_rewards` raises.
    """
    rewards = checked_rewards(rewards)
    return (rewards != rewards[:, :1]).any(1)


def overlong_penalty(
    lengths: Tensor, max_length: int, *, cache: int, factor: float = 1.0
) -> Tensor:
    """Library only: DAPO's soft penalty for long responses, to be added to rewards; shape of `lengths`.

        0                                      L ≤ max_length - cache
        -factor (L - max_length + cache) / cache   up to max_length
        -factor                                beyond

    Lengths, `max_length` and `cache` are in tokens. Source: arXiv:2503.14476, with 20480 and 4096;
    verl has no floor, which matters only beyond `max_length`. Raises InputError unless
    0 < cache <= max_length and factor >= 0.
    """
    if not 0 < cache <= max_length:
        raise InputError(f"cache must be 1 to max_length ({max_length}) tokens, not {cache}")
    if not factor >= 0:
        raise InputError(f"factor must be >= 0, not {factor}")
    lengths = lengths.to(torch.promote_types(lengths.dtype, torch.float32))
    return -factor * ((lengths - (max_length - cache)) / cache).clamp(0, 1)
