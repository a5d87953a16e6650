"""When a training run counts as collapsed."""

from __future__ import annotations

import math

SMOOTHING = 0.9
"""Weight of the past in the running mean of the reward, per rollout."""


class Collapse:
    """The rule: the smoothed reward has lost half of its best, or the gradient is not finite.

    The smoothed reward is a running mean, 0.9 of the past and 0.1 of the newest rollout.
    """

    def __init__(self) -> None:
        """Begin before the first step."""
        self.mean: float | None = None
        self.best = 0.0

    def see(self, step: int, reward: float | None, norm: float | None) -> str | None:
        """Take a step's mean reward and gradient norm, where it has them; say what collapsed, if so."""
        if norm is not None and not math.isfinite(norm):
            return f"the gradient norm is {norm} at step {step}"
        if reward is None:
            return None
        past = reward if self.mean is None else self.mean
        self.mean = mean = SMOOTHING * past + (1 - SMOOTHING) * reward
        self.best = max(self.best, mean)
        if mean < self.best / 2:
            return f"the mean reward fell from {self.best:.3g} to {mean:.3g} by step {step}"
        return None
