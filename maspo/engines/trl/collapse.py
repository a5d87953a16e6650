"""Says so when training collapses, and what the objective's authors advise then."""

from __future__ import annotations

import math
import warnings
from typing import Any

from transformers import TrainerCallback

SMOOTHING = 0.9
"""Weight of the past in the running mean of the reward, per log line."""


class CollapseWarning(TrainerCallback):
    """Warns once when the smoothed reward has lost half of its best, or the gradient is not finite."""

    def __init__(self, advice: str) -> None:
        """Take the sentence to end with."""
        self.advice = advice
        self.mean: float | None = None
        self.best = 0.0
        self.warned = False

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Look at one log line."""
        logs = logs or {}
        reward, norm = logs.get("reward"), logs.get("grad_norm")
        if norm is not None and not math.isfinite(norm):
            self._warn(f"the gradient norm is {norm} at step {state.global_step}")
        if reward is None:
            return
        past = reward if self.mean is None else self.mean
        self.mean = mean = SMOOTHING * past + (1 - SMOOTHING) * reward
        self.best = max(self.best, mean)
        if mean < self.best / 2:
            self._warn(
                f"the mean reward fell from {self.best:.3g} to {mean:.3g} by step {state.global_step}"
            )

    def _warn(self, what: str) -> None:
        if not self.warned:
            self.warned = True
            warnings.warn(f"training is collapsing: {what}; {self.advice}", stacklevel=2)
