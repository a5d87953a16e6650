"""Checking answers: the verifier, and the reward made of it."""

from maspo.rewards.reward import MathReward
from maspo.rewards.verdict import Gold, Outcome, Verdict
from maspo.rewards.verifier import Verifier

__all__ = ["Gold", "MathReward", "Outcome", "Verdict", "Verifier"]
