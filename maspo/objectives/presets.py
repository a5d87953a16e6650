"""Methods whose own idea lies on another axis: in the advantages, or in the reduction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from maspo.objectives.gpg import GPG
from maspo.objectives.grpo import GRPO


@dataclass(frozen=True, kw_only=True)
class DrGRPO(GRPO):
    """GRPO without its two biases: rewards are only centred, and lengths divided by a constant.

        J = min(ρ A, clip(ρ, 1 - ε_low, 1 + ε_high) A)     A = r - mean of the group

    Weight of a token: as GRPO. The rest is its advantages, `center`, and its reduction,
    `seq-mean-token-sum-norm`, whose `max_length` the paper's code sets to the generation limit.

    Source: arXiv:2503.20783. verl divides by the padded width of the batch unless told otherwise.
    """

    title: ClassVar[str] = "Dr. GRPO"
    arxiv: ClassVar[str] = "2503.20783"
    advantages: ClassVar[str] = "center"
    reduction: ClassVar[str] = "seq-mean-token-sum-norm"


@dataclass(frozen=True, kw_only=True)
class RLOO(GPG):
    """REINFORCE with the other samples of the group as baseline.

        J = A log π                                A = r - mean of the others' r

    Weight of a token: w = 1, whatever the ratio: it is meant for one update per rollout. The rest
    is its advantages, `loo`, and its reduction, `seq-mean-token-sum`.

    Source: arXiv:2402.14740. verl takes these advantages with PPO's clip; TRL's RLOOTrainer clips
    the ratio of the whole sequence, the product of its tokens'.
    """

    title: ClassVar[str] = "RLOO"
    arxiv: ClassVar[str] = "2402.14740"
    advantages: ClassVar[str] = "loo"
    reduction: ClassVar[str] = "seq-mean-token-sum"


@dataclass(frozen=True, kw_only=True)
class ReinforcePP(GRPO):
    """PPO's clip with advantages whitened over the whole batch instead of the group.

        J = min(ρ A, clip(ρ, 1 - ε_low, 1 + ε_high) A)     A = whitened r - mean of the group

    Weight of a token: as GRPO. The rest is its advantages, `whiten`.

    Source: arXiv:2501.03262, the variant with a group baseline (`reinforce_plus_plus_baseline` in
    verl). The paper's other variant has no baseline and puts a KL penalty into the reward.
    """

    title: ClassVar[str] = "REINFORCE++"
    arxiv: ClassVar[str] = "2501.03262"
    advantages: ClassVar[str] = "whiten"
