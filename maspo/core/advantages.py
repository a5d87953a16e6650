"""From rewards to advantages: the second axis, beside objective and reduction.

Every estimator takes rewards `[prompts, samples]`, a row being the group of one prompt, and gives
advantages of the same shape, one for all tokens of a sample. In every one a group whose rewards are
all equal (exactly; a group of one is such a group) is centred to exactly 0. Its advantages are 0
then, except where an estimator says otherwise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from maspo.core.history import RewardHistory
from maspo.core.rewards import checked_rewards, live_groups
from maspo.core.settings import check_settings, setting
from maspo.core.shapes import Advantages, Rewards, Scored
from maspo.errors import InputError, unknown


@dataclass(frozen=True, kw_only=True)
class AdvantageEstimator(ABC):
    """An advantage estimator: a value whose fields are its constants."""

    inputs: ClassVar[tuple[str, ...]] = ()
    """What it needs besides rewards: `lengths`, `history`."""

    def __post_init__(self) -> None:
        """Raise InputError for a constant outside its limits."""
        check_settings(self)

    @abstractmethod
    def estimate(self, batch: RewardBatch) -> Advantages:
        """Give the advantages, `[prompts, samples]`; `batch` has what `inputs` names."""


@dataclass(frozen=True, kw_only=True)
class RewardBatch:
    """What an estimator sees; `centred`, `alive` and `deviation` leave out what is not scored."""

    rewards: Rewards
    """`[prompts, samples]`, finite, float32 or wider; unscored samples have one of their group's."""
    scored: Scored
    """Bool `[prompts, samples]`: false for samples that have no part in anything."""
    lengths: Rewards | None = None
    """Response tokens, `[prompts, samples]`."""
    history: RewardHistory | None = None
    """Earlier rewards of these prompts."""


def _epsilon(default: float) -> Any:
    return setting(default, "e", "added to the standard deviation, in units of reward", low=0)


def _ddof(default: int = 1) -> Any:
    return setting(default, "ddof", "divisor of a variance: n - ddof", low=0, high=1)


def centred(batch: RewardBatch) -> Tensor:
    """Return r - mean of its group, exactly 0 in dead groups."""
    return alive(batch, batch.rewards - _mean(batch.rewards, batch.scored, (1,)))


def alive(batch: RewardBatch, values: Tensor) -> Tensor:
    """Put 0 in place of `values` in dead groups, and of samples without a score."""
    return torch.where(live_groups(batch.rewards)[:, None] & batch.scored, values, 0.0)


def deviation(batch: RewardBatch, ddof: int, dim: tuple[int, ...]) -> Tensor:
    """Return the standard deviation of the rewards over `dim`, 0 for a single one."""
    rewards, scored = batch.rewards, batch.scored
    squares = (rewards - _mean(rewards, scored, dim)).square()
    divisor = (scored.sum(dim, keepdim=True) - ddof).clamp(min=1)
    return (torch.where(scored, squares, 0.0).sum(dim, keepdim=True) / divisor).sqrt()


def _mean(values: Tensor, scored: Tensor, dim: tuple[int, ...]) -> Tensor:
    count = scored.sum(dim, keepdim=True).clamp(min=1)
    return torch.where(scored, values, 0.0).sum(dim, keepdim=True) / count


@dataclass(frozen=True, kw_only=True)
class GroupAdvantages(AdvantageEstimator):
    """GRPO: A = (r - mean) / (std + e), over the group.

    Source: arXiv:2402.03300, whose formula has no e. verl and the MASPO release have e = 1e-6, TRL
    1e-4, Dr. GRPO's code 1e-8, all with ddof = 1. verl leaves a group of one its reward; here it has 0.
    """

    epsilon: float = _epsilon(1e-6)
    ddof: int = _ddof()

    def estimate(self, batch: RewardBatch) -> Advantages:
        """See the class."""
        return alive(batch, centred(batch) / (deviation(batch, self.ddof, (1,)) + self.epsilon))


@dataclass(frozen=True, kw_only=True)
class CentredAdvantages(AdvantageEstimator):
    """Dr. GRPO: A = r - mean of the group.

    Source: arXiv:2503.20783; dividing by the std would give easy and hard prompts more weight.
    """

    def estimate(self, batch: RewardBatch) -> Advantages:
        """See the class."""
        return centred(batch)


@dataclass(frozen=True, kw_only=True)
class LeaveOneOutAdvantages(AdvantageEstimator):
    """RLOO: A = r - mean of the others in the group = G / (G - 1) (r - mean).

    Source: arXiv:2402.14740. verl leaves a group of one its reward; here it has 0.
    """

    def estimate(self, batch: RewardBatch) -> Advantages:
        """See the class."""
        samples = batch.scored.sum(1, keepdim=True).to(batch.rewards)
        return centred(batch) * (samples / (samples - 1).clamp(min=1))


@dataclass(frozen=True, kw_only=True)
class BatchAdvantages(AdvantageEstimator):
    """Lite PPO: A = (r - mean of the group) / (std of all rewards of the batch + e).

    Source: arXiv:2508.08221; TRL's scale_rewards="batch", with its e.
    """

    epsilon: float = _epsilon(1e-4)
    ddof: int = _ddof()

    def estimate(self, batch: RewardBatch) -> Advantages:
        """See the class."""
        return alive(batch, centred(batch) / (deviation(batch, self.ddof, (0, 1)) + self.epsilon))


@dataclass(frozen=True, kw_only=True)
class WhitenedAdvantages(AdvantageEstimator):
    """REINFORCE++ baseline: r - mean of the group, then whitened over all tokens of the batch.

        x = r - mean_group(r)
        A = (x - mean(x)) / √(var(x) + e)

    Mean and variance count every sample as often as it has tokens, so long responses weigh more, and
    the advantages of a group do not sum to 0; `weighting="sequence"` counts each sample once. A
    dead group has x = 0 and is shifted with the batch: its advantages are 0 only where all groups are
    dead, or where mean(x) is 0.

    Source: arXiv:2501.03262; e and ddof as in verl, which refuses a batch of fewer than two tokens
    (here its advantages are 0).
    """

    inputs: ClassVar[tuple[str, ...]] = ("lengths",)

    weighting: str = setting(
        "token", "n", "what counts once: a token or a sample", choices=("token", "sequence")
    )
    epsilon: float = setting(1e-8, "e", "added to the variance, in units of reward squared", low=0)
    ddof: int = _ddof()

    def estimate(self, batch: RewardBatch) -> Advantages:
        """See the class."""
        x, lengths = centred(batch), batch.lengths
        assert lengths is not None
        if lengths.shape != x.shape:
            raise ValueError(f"lengths must be {list(x.shape)}, not {list(lengths.shape)}")
        n = (lengths if self.weighting == "token" else lengths > 0).to(x) * batch.scored
        x = x - (n * x).sum() / n.sum().clamp(min=1)
        variance = (n * x.square()).sum() / (n.sum() - self.ddof).clamp(min=1)
        kept = batch.scored & (variance > 0)
        return torch.where(kept, x / (variance + self.epsilon).sqrt(), 0.0)


@dataclass(frozen=True, kw_only=True)
class GPGAdvantages(AdvantageEstimator):
    """GPG: A = α (r - mean of the group), α = B / (B - M), M of the B samples being in dead groups.

    The dead groups' share of the gradient is given to the live ones. With no live group all is 0.

    Source: arXiv:2504.02546, with F_norm = 1. verl counts the samples whose reward is not 0 instead of
    those in live groups, which differs for rewards of 0 and 1. The paper also samples again until
    enough groups are live.
    """

    def estimate(self, batch: RewardBatch) -> Advantages:
        """See the class."""
        live = live_groups(batch.rewards)[:, None] & batch.scored
        samples = batch.scored.sum().to(batch.rewards)
        return centred(batch) * (samples / live.sum().clamp(min=1))


@dataclass(frozen=True, kw_only=True)
class SmoothAdvantages(AdvantageEstimator):
    """Library only: DCPO's smooth standardisation, over the group and over all rollouts of the prompt.

        A_new   = (r - mean) / (std + e) of this group
        A_total = the same with mean and std of all rewards of the prompt so far, these included
        A = whichever is nearer 0 of   (i - 1)/i A_new + 1/i A_total
                                and   1/i A_new + (i - 1)/i A_total        i: the visit, from 1

    The past is `history`, the rows of this batch as they were before; afterwards it is the caller's
    to `add` the rewards to it. A dead group has A_new = 0 and still learns from A_total; that is 0
    too where all rewards of the prompt so far were equal.

    Source: arXiv:2509.02333; the paper has no e. Its code takes ddof = 1 for a group and merges those
    variances by the formula for ddof = 0.
    """

    inputs: ClassVar[tuple[str, ...]] = ("history",)

    epsilon: float = _epsilon(1e-6)
    ddof: int = _ddof(0)

    def estimate(self, batch: RewardBatch) -> Advantages:
        """See the class."""
        rewards, past = batch.rewards, batch.history
        assert past is not None
        if len(past.visits) != len(rewards):
            raise ValueError(f"history must have {len(rewards)} rows, not {len(past.visits)}")
        total = past.add(rewards)
        new = GroupAdvantages(epsilon=self.epsilon, ddof=self.ddof).estimate(batch)
        scale = total.std(self.ddof) + self.epsilon
        ever = ((rewards - total.mean[:, None]) / scale[:, None]).to(rewards)
        ever = torch.where((total.low < total.high)[:, None], ever, 0.0)
        share = (1 / total.visits)[:, None].to(rewards)
        one, other = torch.lerp(new, ever, share), torch.lerp(ever, new, share)
        return torch.where(one.abs() <= other.abs(), one, other)


ADVANTAGES: dict[str, type[AdvantageEstimator]] = {
    "group": GroupAdvantages,
    "center": CentredAdvantages,
    "loo": LeaveOneOutAdvantages,
    "batch": BatchAdvantages,
    "whiten": WhitenedAdvantages,
    "gpg": GPGAdvantages,
    "sas": SmoothAdvantages,
}


DEFAULT_ADVANTAGES = "group"
"""Where neither the caller nor the objective names an estimator."""

ROLLOUT_ADVANTAGES = tuple(n for n, kind in ADVANTAGES.items() if "history" not in kind.inputs)
"""The estimators that one rollout is enough for, which is what an engine has. The others are for the
library alone: whoever calls them keeps the history."""


def estimate_advantages(
    rewards: Rewards,
    estimator: AdvantageEstimator | str = "group",
    *,
    lengths: Rewards | None = None,
    history: RewardHistory | None = None,
    scored: Scored | None = None,
) -> Advantages:
    """Turn rewards into advantages, both `[prompts, samples]`; `flatten()` them for `policy_loss`.

    Args:
        rewards: finite numbers; half precision and integers are computed in float32.
        estimator: a name in `maspo.ADVANTAGES`, or a value such as `GroupAdvantages(epsilon=1e-4)`.
        lengths: response tokens of each sample, `[prompts, samples]`, for the estimators whose
            `inputs` name it.
        history: the past rewards of these prompts, likewise.
        scored: bool `[prompts, samples]`, all true if left out. Where it is false the sample is left
            out: its reward may be anything, its advantage is 0, and it counts in no mean and no number.

    Raises InputError for a reward that is not finite, an unknown name, an input that is missing, and
    one that would do nothing.
    """
    if isinstance(estimator, str):
        if estimator not in ADVANTAGES:
            raise unknown("advantage estimator", estimator, ADVANTAGES)
        estimator = ADVANTAGES[estimator]()
    for name, value in {"lengths": lengths, "history": history}.items():
        if (value is None) == (name in estimator.inputs):
            verb = "needs" if value is None else "has no use for"
            raise InputError(f"{type(estimator).__name__} {verb} {name}")
    if scored is None:
        rewards = checked_rewards(rewards)
        scored = torch.ones_like(rewards, dtype=torch.bool)
    else:
        if history is not None and not scored.all():
            raise InputError(
                f"{type(estimator).__name__} remembers all rewards, so all need a score"
            )
        # One of its own group's rewards in place of a missing one makes no dead group a live one.
        own = torch.where(scored, rewards, 0).gather(1, scored.int().argmax(1, keepdim=True))
        rewards = checked_rewards(torch.where(scored, rewards, own))
    batch = RewardBatch(rewards=rewards, scored=scored, lengths=lengths, history=history)
    return estimator.estimate(batch)
