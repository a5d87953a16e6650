"""Rollouts by a policy that is out of date on purpose: the weights of earlier rollouts.

An asynchronous system trains on completions that an older policy drew. Here the lag is exact: rollout
r is drawn, and its old log-probabilities are scored, by the weights at the start of rollout r - k.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from maspo.errors import InputError

GIB = 2**30

Weights = dict[str, Tensor]
"""The parameters that training changes, by name, in the memory of the CPU."""


class PastPolicies:
    """The trained weights at the start of the last rollouts; of adapters those alone."""

    def __init__(self, model: Any, lag: int) -> None:
        """Take the model that is trained, and how many rollouts ago its rollouts are drawn."""
        self._model, self._lag = model, lag
        self._kept: deque[Weights] = deque()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While the block runs, give the model the weights of `lag` rollouts ago.

        At the first rollouts these are the oldest there are. Enter it once for each rollout: it
        keeps the current weights for those to come.
        """
        now = {name: weights.to("cpu", copy=True) for name, weights in self._trained()}
        self._kept.append(now)
        try:
            self._put(self._kept[0])
            yield
        finally:
            self._put(now)
            if len(self._kept) > self._lag:
                self._kept.popleft()

    def state(self) -> list[Weights]:
        """Return what is kept, for a checkpoint."""
        return list(self._kept)

    def load(self, state: list[Weights]) -> None:
        """Go on from there."""
        self._kept = deque(
            {name: tensor.cpu() for name, tensor in weights.items()} for weights in state
        )

    def _trained(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self._model.named_parameters():
            if parameter.requires_grad:
                yield name, parameter.detach()

    @torch.no_grad()
    def _put(self, weights: Weights) -> None:
        for name, parameter in self._trained():
            parameter.copy_(weights[name])


def past_policies(trainer: Any) -> PastPolicies | None:
    """Return the memory that `staleness` of a trainer's settings needs; None where it is 0.

    Raises InputError where weights are spread over processes, or more than the budget.
    """
    args = trainer.args
    if not args.staleness:
        return None
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        raise InputError(
            "staleness needs all weights on every process, which FSDP and DeepSpeed spread: "
            "train without them"
        )
    check_budget(trainer.model, args.staleness, args.staleness_budget_gib)
    return PastPolicies(trainer.model, args.staleness)


def check_budget(model: Any, lag: int, budget_gib: float) -> None:
    """Raise InputError where the weights that `PastPolicies` keeps of `model` are more than the budget."""
    trained = [p for p in model.parameters() if p.requires_grad]
    numbers = sum(p.numel() for p in trained)
    needed = (lag + 1) * sum(p.numel() * p.element_size() for p in trained) / GIB
    if needed > budget_gib:
        raise InputError(
            f"a staleness of {lag} rollouts keeps {lag + 1} copies of the {numbers:,} trained "
            f"weights, {needed:.3g} GiB of memory, where staleness_budget_gib allows {budget_gib:g}: "
            "lower the staleness, train adapters (model.lora), or raise trl.staleness_budget_gib"
        )
