"""Clip-Cov and KL-Cov: hold back the few tokens that cost the most entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from maspo.core.batch import TokenBatch
from maspo.core.objective import Objective, Outline, Terms
from maspo.core.select import only
from maspo.core.settings import override, setting
from maspo.objectives.grpo import GRPO
from maspo.objectives.token_hash import token_keys


def covariances(batch: TokenBatch) -> Tensor:
    """Give (A - mean A) (log π - mean log π), `[batch, time]`, 0 under the mask.

    The means are over the tokens of the batch on all processes.
    """
    sums = [batch.mask.sum(), batch.advantages.sum(), batch.log_probs.sum()]
    count, *totals = batch.total(torch.stack([x.to(batch.log_probs) for x in sums]))
    mean_a, mean_l = (x / count.clamp(min=1) for x in totals)
    product = (batch.advantages - mean_a) * (batch.log_probs - mean_l)
    return only(product, batch.kept)


def token_count(batch: TokenBatch, fraction: float) -> int:
    """Count `fraction` of the tokens of the batch, rounded down, but at least one."""
    return int((batch.mask.sum().double() * fraction).floor().clamp(min=1))


def lowest(keys: Tensor, count: int) -> Tensor:
    """Give the indices of the `count` lowest of one-dimensional keys; of equal ones the first go first."""
    bound = keys.topk(min(count, len(keys)), largest=False).values[-1:]
    near = (keys <= bound).nonzero()[:, 0]
    return near[keys[near].argsort(stable=True)[:count]]


def marked(indices: Tensor, mask: Tensor) -> Tensor:
    """Mark the tokens at flat `indices`, of those in `mask`; bool `[batch, time]`."""
    flags = torch.zeros_like(mask).flatten()
    flags[indices] = True
    return flags.view_as(mask) & mask


@dataclass(frozen=True, kw_only=True)
class ClipCov(GRPO):
    """PPO's clip, and no gradient for a random few of the tokens whose covariance is high.

        J = 0 for the selected, else min(ρ A, clip(ρ, 1 - ε_low, 1 + ε_high) A)
        candidates: c_low < (A - mean A) (log π - mean log π) < c_high, and not clipped
        selected: a random r N of them, rounded down, at least one

    Weight of a token: that of `grpo`, and 0 if selected. N counts the tokens of the micro-batch
    handed in on this process, of which the share r is drawn here; the means are those of all
    processes. So the selection depends on the size of the micro-batch, as in the release, and below
    1/r tokens more than the share r is dropped.

    The draw is a function of `seed` and of the tokens, see `token_hash`: the same batch gives the
    same selection in every run and whatever its padding and order, another batch an unrelated
    one, if only by the last bit of a log-probability: two ways through a model draw differently.
    No random state is touched.

    Source: arXiv:2505.22617 and the authors' release (PRIME-RL/Entropy-Mechanism-of-RL), whose
    scripts set ε to 1, so that PPO's clip is all but off; verl's `clip_cov` takes its usual ε. Both
    draw with torch.randperm from the global state, differently on each rank, and take the means of
    the micro-batch of one rank.
    """

    title: ClassVar[str] = "Clip-Cov"
    arxiv: ClassVar[str] = "2505.22617"
    radius: ClassVar[str] = "constant ε; a share r of the tokens with high covariance"
    mass_aware: ClassVar[bool] = True
    couples_batch: ClassVar[bool] = True
    needs_dead_rows: ClassVar[bool] = True

    epsilon_low: float = override(GRPO, "epsilon_low", 1.0)
    epsilon_high: float = override(GRPO, "epsilon_high", 1.0)
    fraction: float = setting(
        2e-4, "r", "share of all tokens that is dropped, at least one token", low=0, high=1,
        open_low=True,
    )  # fmt: skip
    cov_low: float = setting(1.0, "c_low", "covariance above which a token may be dropped")
    cov_high: float = setting(5.0, "c_high", "covariance from which a token is left alone again")
    seed: int = setting(0, "seed", "another seed draws other tokens", low=0, whole=True)

    def candidates(self, batch: TokenBatch, weights: Tensor) -> Tensor:
        """Mark the tokens that may be dropped, bool `[batch, time]`."""
        cov = covariances(batch)
        return (cov > self.cov_low) & (cov < self.cov_high) & (weights != 0) & batch.mask

    def select(self, batch: TokenBatch, weights: Tensor) -> Tensor:
        """Draw the tokens that are dropped, bool `[batch, time]`."""
        candidates = self.candidates(batch, weights)
        keys = token_keys(batch, self.seed, candidates)
        indices = candidates.flatten().nonzero()[:, 0]
        return marked(indices[lowest(keys, token_count(batch, self.fraction))], candidates)

    def token_terms(self, batch: TokenBatch) -> Terms:
        """See the class."""
        terms = super().token_terms(batch)
        return terms.only(~self.select(batch, terms.weights))


@dataclass(frozen=True, kw_only=True)
class KLCov(Objective):
    """The plain ratio, and a pull back to π_old for the tokens whose covariance is highest.

        J = ρ A - β |log ρ|  for the selected, else ρ A
        selected: the r N tokens of highest (A - mean A) (log π - mean log π), at least one

    Weight of a token: w = ρ; the selected also move by -β sign(log ρ), which is 0 on-policy. Nothing
    clips the ratio. N and the ranking are of the micro-batch handed in on this process, the means of
    all processes. At least one token is selected even where all covariances are equal, the first
    in the batch then.

    Source: arXiv:2505.22617: r is 2e-3 for 7B models and 2e-4 for 32B, β = 1. The release counts
    `k_percent` in percent; verl's `kl_cov` starts at r = 2e-4 and β = 0.1. Both take the means of the
    micro-batch of one rank, and neither bounds log ρ, beyond whose `max_log_ratio` a token has no
    gradient here.
    """

    title: ClassVar[str] = "KL-Cov"
    arxiv: ClassVar[str] = "2505.22617"
    radius: ClassVar[str] = "none; β on the share r of highest covariance"
    couples_batch: ClassVar[bool] = True
    needs_dead_rows: ClassVar[bool] = True

    fraction: float = setting(
        2e-3, "r", "share of all tokens that is pulled back, at least one token", low=0, high=1,
        open_low=True,
    )  # fmt: skip
    beta: float = setting(1.0, "β", "strength of the pull, per nat of |log ρ|; 0: none", low=0)

    def form(self) -> Outline:
        """See the base class."""
        return Outline(gate="penalty β |log ρ|")

    def select(self, batch: TokenBatch) -> Tensor:
        """Mark the tokens that are pulled back, bool `[batch, time]`."""
        keys = covariances(batch).neg_().masked_fill_(~batch.mask, torch.inf).flatten()
        return marked(lowest(keys, token_count(batch, self.fraction)), batch.mask)

    def token_terms(self, batch: TokenBatch) -> Terms:
        """See the class."""
        drift = only(batch.log_ratio, self.select(batch) & ~batch.broken)
        return Terms(
            weights=batch.intact(batch.ratio),
            surrogate=batch.ratio * batch.advantages - self.beta * drift.abs(),
            ratios=batch.ratio,
            offsets=-self.beta * drift.sign(),
        )
