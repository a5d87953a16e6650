# pyright: reportMissingImports=false
"""The advantage estimators that verl lacks, as estimators of verl."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from maspo.core.advantages import ADVANTAGES, estimate_advantages
from maspo.engines.verl.names import OUR_ADVANTAGES
from maspo.errors import InputError


def register_advantages() -> None:
    """Enter them in verl's registry as `maspo.<name>`."""
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, register_adv_est

    for name in OUR_ADVANTAGES:
        if f"maspo.{name}" not in ADV_ESTIMATOR_REGISTRY:
            register_adv_est(f"maspo.{name}")(VerlAdvantages(name))


class VerlAdvantages:
    """An advantage estimator of verl that computes one of ours."""

    def __init__(self, name: str) -> None:
        """Take the name in `maspo.ADVANTAGES`."""
        self.name = name
        self.__name__ = f"maspo.{name}"

    def __call__(
        self,
        token_level_rewards: Tensor,
        response_mask: Tensor,
        index: Sequence[Any],
        config: Any = None,
        **_: Any,
    ) -> tuple[Tensor, Tensor]:
        """Give advantages twice, `[batch, time]`: verl also wants returns, and there is no critic.

        A row's reward is the sum over its tokens, `index` names its prompt. Raises InputError where
        the prompts have different numbers of rows.
        """
        rows = _rows_by_prompt(index).to(token_level_rewards.device)
        rewards = token_level_rewards.sum(-1)[rows]
        asks = "lengths" in ADVANTAGES[self.name].inputs
        lengths = response_mask.sum(-1)[rows] if asks else None
        found = estimate_advantages(rewards, self.name, lengths=lengths)
        flat = torch.empty_like(found.flatten())
        flat[rows.flatten()] = found.flatten()
        advantages = flat[:, None] * response_mask
        return advantages, advantages


def _rows_by_prompt(index: Sequence[Any]) -> Tensor:
    """List the rows of each prompt, `[prompts, samples]`."""
    groups: dict[Any, list[int]] = {}
    for row, prompt in enumerate(index):
        groups.setdefault(prompt, []).append(row)
    sizes = {len(rows) for rows in groups.values()}
    if len(sizes) != 1:
        raise InputError(
            f"every prompt must have the same number of responses, not {sorted(sizes)}"
        )
    return torch.tensor(list(groups.values()))
