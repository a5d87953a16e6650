"""A moment of training at which it stands still, so that others can look at the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from maspo.sampling import Sampler


@dataclass(frozen=True, kw_only=True)
class Moment:
    """The model of a training run after some rollouts; valid until the look at it returns."""

    rollouts: int
    """Rollouts trained so far: 0 before training."""
    sampler: Sampler
    """Samples from the model as it is now, and leaves weights and random numbers of training alone."""
    save: Callable[[Path], None]
    """Writes what training has changed into a file, for `restored` of the engine; every process calls it."""


Look = Callable[[Moment], None]
"""Called in every process."""
