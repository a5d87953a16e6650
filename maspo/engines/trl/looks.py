"""Training stands still after some rollouts, so that others can look at the model as it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import PartialState
from safetensors.torch import save
from transformers import TrainerCallback

from maspo import files
from maspo.engines.moment import Look, Moment
from maspo.engines.trl.colocated import sampler_of
from maspo.engines.trl.sharding import gathered, trained_weights
from maspo.recipes.schema import Recipe


class Clock:
    """Seconds of training, without those during which it stood still."""

    def __init__(self) -> None:
        """Start at 0."""
        self.start()

    def start(self) -> None:
        """Begin again at 0."""
        self._started, self._still = time.perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        """How long training has gone on."""
        return time.perf_counter() - self._started - self._still

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Leave out the time of the block."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._still += time.perf_counter() - began


class Looks(TrainerCallback):
    """Calls `look` after every so many rollouts but the last, in every process.

    A resumed run calls it again for the moment it resumes at: the look may have been cut off there.
    """

    trainer: Any
    """Set when there is one."""

    def __init__(self, look: Look | None, every: int | None, recipe: Recipe, clock: Clock) -> None:
        """Take the look, the rollouts between two of them, the recipe, and the clock."""
        self._look, self._every, self._clock = look, every, clock
        self._updates = recipe.training.updates_per_rollout
        self._template = recipe.model.chat_template_kwargs

    def take(self, rollouts: int, model: Any = None) -> None:
        """Look at `model`, or at the trainer's own."""
        if self._look is None:
            return
        trainer = self.trainer
        if model is None:
            model = trainer.accelerator.unwrap_model(trainer.model)
        moment = Moment(
            rollouts=rollouts,
            sampler=sampler_of(trainer, model, self._template),
            save=lambda path: save_trained(model, path),
        )
        with self._clock.standing_still(), gathered(trainer):
            self._look(moment)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Look before the first rollout, or again at the moment of the checkpoint."""
        if state.global_step == 0:
            self.take(0)
        self._look_if_due(state)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Look at the end of a rollout."""
        self._look_if_due(state)

    def _look_if_due(self, state: Any) -> None:
        rollouts, rest = divmod(state.global_step, self._updates)
        between = 0 < state.global_step < state.max_steps
        if self._every is not None and between and not rest and not rollouts % self._every:
            self.take(rollouts)


def save_trained(model: Any, path: Path) -> None:
    """Write the parameters that training changes, as safetensors, whole or not at all.

    Every process calls it, and the first one writes.
    """
    tensors = trained_weights(model)
    if PartialState().is_main_process:
        files.write_bytes(path, save(tensors))
