"""Callbacks that say so when training collapses or stands still, and what helps then."""

from __future__ import annotations

import warnings
from typing import Any

from transformers import TrainerCallback

from maspo.core.collapse import Collapse


class RememberingCallback(TrainerCallback):
    """A callback of ours whose memory is part of a checkpoint."""

    def state_dict(self) -> dict[str, Any]:
        """Return what it has seen so far: numbers, texts, dicts and lists of them."""
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        raise NotImplementedError


class CollapseWarning(RememberingCallback):
    """Warns once when the smoothed reward has lost half of its best, or the gradient is not finite."""

    def __init__(self, advice: str) -> None:
        """Take the sentence to end with."""
        self.advice = advice
        self.rule = Collapse()
        self.warned = False

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Look at one log line."""
        logs = logs or {}
        if what := self.rule.see(state.global_step, logs.get("reward"), logs.get("grad_norm")):
            self._warn(what)

    def state_dict(self) -> dict[str, Any]:
        """Give what it has seen so far, for a checkpoint."""
        return {"mean": self.rule.mean, "best": self.rule.best, "warned": self.warned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.rule.mean, self.rule.best = state["mean"], state["best"]
        self.warned = state["warned"]

    def _warn(self, what: str) -> None:
        if not self.warned:
            self.warned = True
            warnings.warn(f"training is collapsing: {what}; {self.advice}", stacklevel=2)


PATIENCE = 10
"""Rollouts, or log lines, in a row after which training counts as standing still."""

LITTLE = 0.05
"""Share of the first entropy, or of the plain policy gradient, that counts as next to nothing."""


class StallWarning(RememberingCallback):
    """Warns, once for each, when nothing is learned any more: no group differs, no entropy, a shut gate."""

    def __init__(self, advice: str) -> None:
        """Take the sentence that ends the warning of a shut gate."""
        self.advice = advice
        self.in_a_row = {"dead": 0, "entropy": 0, "gate": 0}
        self.first_entropy: float | None = None

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Look at one log line; rewards stand in the first of a rollout alone."""
        logs = logs or {}
        dead, entropy = logs.get("frac_reward_zero_std"), logs.get("entropy")
        reward, gate = logs.get("reward"), logs.get("maspo/gate_mean")
        if entropy is not None and self.first_entropy is None:
            self.first_entropy = entropy
        if dead is not None:
            self._count("dead", dead == 1, _no_group_differs(reward or 0.0))
        if dead is not None and entropy is not None:
            low = entropy < LITTLE * (self.first_entropy or 0.0) and dead >= 0.9
            self._count(
                "entropy",
                low and (reward or 0.0) < 0.9 and dead < 1,
                f"the entropy fell to {entropy:.2g} from {self.first_entropy:.2g}, and nearly all groups "
                "give one answer though problems are left: lower the learning rate, or start anew with "
                "an objective that keeps exploring",
            )
        if gate is not None:
            self._count(
                "gate",
                gate < LITTLE,
                f"the gate lets {gate:.1%} of the policy gradient through; {self.advice}",
            )

    def state_dict(self) -> dict[str, Any]:
        """Give what it has seen so far, for a checkpoint."""
        return {"in_a_row": self.in_a_row, "first_entropy": self.first_entropy}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.in_a_row, self.first_entropy = dict(state["in_a_row"]), state["first_entropy"]

    def _count(self, kind: str, holds: bool, sentence: str) -> None:
        if self.in_a_row[kind] >= PATIENCE:  # said already
            return
        self.in_a_row[kind] = self.in_a_row[kind] + 1 if holds else 0
        if self.in_a_row[kind] == PATIENCE:
            warnings.warn(f"training stands still: {sentence}", stacklevel=2)


def _no_group_differs(reward: float) -> str:
    cure = "easier" if reward < 0.5 else "harder"
    return (
        f"in {PATIENCE} rollouts every group had equal rewards, {reward:.2g} in the mean, so that nothing "
        f"is learned: take {cure} problems or more samples of each"
    )
