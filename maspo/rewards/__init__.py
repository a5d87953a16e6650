"""Judging completions: the kinds of reward, the verifier among them, and the rewards of a run."""

from maspo.rewards.math_reward import MathReward
from maspo.rewards.registry import KINDS
from maspo.rewards.reward import AskedProblem, Reward
from maspo.rewards.reward_set import RewardSet
from maspo.rewards.spec import Limits, RewardSpec
from maspo.rewards.verdict import Gold, Outcome, Verdict
from maspo.rewards.verifier import Finding, Verifier, check_golds

__all__ = [
    "KINDS",
    "AskedProblem",
    "Finding",
    "Gold",
    "Limits",
    "MathReward",
    "Outcome",
    "Reward",
    "RewardSet",
    "RewardSpec",
    "Verdict",
    "Verifier",
    "check_golds",
]
