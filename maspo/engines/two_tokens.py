"""Two tokens of known ratio and advantage, by whose weights one tells which objective is live."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from maspo.core.objective import Objective
from maspo.loss import policy_loss

RATIOS = (2.0, 0.4)
"""Ratios of the two, the first with A = 1 and the second with A = -1: both moved as A asks."""


def two_tokens() -> tuple[Tensor, Tensor, Tensor]:
    """Return log-probabilities, old ones and advantages in the order of `policy_loss`, `[1, 2]`, float64."""
    ratios = torch.tensor([RATIOS], dtype=torch.float64)
    old = torch.full_like(ratios, 0.3).log()
    return old + ratios.log(), old, torch.tensor([[1.0, -1.0]], dtype=torch.float64)


def weights_of_two(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """Return the weights `[2]` by the gradient that a loss, the mean over the two, left in `log_probs`."""
    gradient = log_probs.grad
    if gradient is None:
        raise ValueError("no loss was differentiated")
    return (-2 * gradient / advantages)[0] + 0.0  # no -0.0


def weights_through(loss: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> Tensor:
    """Return the weights `[2]` by the gradient of a loss that sums over the two.

    It takes log-probabilities, old ones, advantages and a bool mask, all `[1, 2]`.
    """
    log_probs, old, advantages = two_tokens()
    leaf = log_probs.requires_grad_()
    (loss(leaf, old, advantages, torch.ones(1, 2, dtype=torch.bool)) / 2).backward()
    return weights_of_two(leaf, advantages)


def weights_by_formula(objective: Objective) -> Tensor:
    """Return the weights `[2]` by the gradient of `policy_loss`."""
    log_probs, old, advantages = two_tokens()
    leaf = log_probs.requires_grad_()
    mask = torch.ones(1, 2)
    policy_loss(
        leaf, old, advantages, mask, objective=objective, reduction="token-mean"
    ).loss.backward()
    return weights_of_two(leaf, advantages)
