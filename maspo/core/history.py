"""Library only: what earlier rollouts of the same prompts were rewarded, for estimators that remember."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from maspo.core.rewards import checked_rewards


@dataclass(frozen=True, kw_only=True)
class RewardHistory:
    """The rewards of some prompts so far, summed up: a value, changed by making another.

    All fields are `[prompts]`. Keep one for all prompts of a data set, take the `rows` of a batch,
    and `put` them back after `add`.
    """

    visits: Tensor
    """How many groups were seen."""
    count: Tensor
    """How many rewards."""
    mean: Tensor
    """Their mean."""
    spread: Tensor
    """Their sum of squared deviations from the mean."""
    low: Tensor
    """Their minimum; with `high` it tells exactly whether all were equal."""
    high: Tensor
    """Their maximum."""

    @classmethod
    def empty(cls, prompts: int, dtype: torch.dtype = torch.float64) -> RewardHistory:
        """Make the history of prompts never seen."""
        zero, infinite = torch.zeros(prompts, dtype=dtype), torch.full((prompts,), torch.inf)
        return cls(
            visits=zero, count=zero, mean=zero, spread=zero,
            low=infinite.to(dtype), high=-infinite.to(dtype),
        )  # fmt: skip

    def add(self, rewards: Tensor) -> RewardHistory:
        """Give the history after one more group of each prompt, `[prompts, samples]`."""
        rewards = checked_rewards(rewards).to(self.mean.dtype)
        samples, mean = rewards.shape[1], rewards.mean(1)
        count, step = self.count + samples, mean - self.mean
        return RewardHistory(
            visits=self.visits + 1,
            count=count,
            mean=self.mean + step * samples / count,
            spread=self.spread
            + (rewards - mean[:, None]).square().sum(1)
            + step.square() * self.count * samples / count,
            low=torch.minimum(self.low, rewards.amin(1)),
            high=torch.maximum(self.high, rewards.amax(1)),
        )

    def rows(self, index: Tensor) -> RewardHistory:
        """Take the history of some prompts, by their integer index."""
        return RewardHistory(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def put(self, index: Tensor, part: RewardHistory) -> RewardHistory:
        """Give the history in which the prompts at `index`, each named once, have that of `part`."""
        return RewardHistory(
            **{
                f.name: getattr(self, f.name).index_copy(0, index, getattr(part, f.name))
                for f in fields(self)
            }
        )

    def std(self, ddof: int) -> Tensor:
        """Give the standard deviation of all rewards, divisor count - ddof."""
        return (self.spread / (self.count - ddof).clamp(min=1)).sqrt()
