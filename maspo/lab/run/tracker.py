"""Trackers: the metrics and evaluations of a run where TensorBoard, Weights & Biases or trackio show them.

Files lie in the folder of the run, nothing needs a network, and a run that goes on goes on in its tracker.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from maspo.errors import InputError
from maspo.recipes import Recipe, dump_recipe


class Tracker(Protocol):
    """Takes numbers by their names, at optimizer steps that do not fall."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of a step."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


class NoTracker:
    """Takes everything, and keeps nothing."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class TensorBoard:
    """Event files in `tensorboard/` of the run's folder; the recipe is a text."""

    def __init__(self, recipe: Recipe, folder: Path, step: int) -> None:
        """Go on after `step`: what was logged later is purged."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        if step == 0:
            self._writer.add_text("recipe", f"```yaml\n{dump_recipe(recipe)}```")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a scalar for each value."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class WandB:
    """A run in `wandb/` of the run's folder, offline unless WANDB_MODE says otherwise."""

    def __init__(self, recipe: Recipe, folder: Path, step: int) -> None:
        """Begin or go on with the run whose id is the folder's name."""
        import wandb  # pyright: ignore[reportMissingImports]

        name = folder.resolve().name
        self._run = wandb.init(
            project=recipe.name, name=name, id=name, resume="allow", dir=str(folder),
            config=recipe.model_dump(), mode=os.environ.get("WANDB_MODE", "offline"),
        )  # fmt: skip

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values of a step."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


class Trackio:
    """A run in `trackio/` of the run's folder: `TRACKIO_DIR=FOLDER/trackio trackio show` shows it."""

    def __init__(self, recipe: Recipe, folder: Path, step: int) -> None:
        """Begin or go on with the run of the folder's name; `place_files` says where its files are."""
        import trackio  # pyright: ignore[reportMissingImports]

        self._run = trackio.init(
            project=recipe.name, name=folder.resolve().name, config=recipe.model_dump(),
            resume="allow",
        )  # fmt: skip

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values of a step."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


TRACKERS: Mapping[str, type[TensorBoard] | type[WandB] | type[Trackio]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "trackio": Trackio,
}


def place_files(recipe: Recipe, folder: Path) -> None:
    """Have trackio keep its files in the folder of the run; it asks as it is imported, which is early."""
    if recipe.tracker == "trackio":
        os.environ["TRACKIO_DIR"] = str(folder.resolve() / "trackio")


def check_tracker(recipe: Recipe) -> None:
    """Raise InputError where the recipe's tracker is not installed."""
    name = recipe.tracker
    if name is not None and importlib.util.find_spec(name) is None:
        raise InputError(f"tracker: {name} needs a package: pip install {name}")


@contextmanager
def tracking(recipe: Recipe, folder: Path, step: int, *, first: bool) -> Iterator[Tracker]:
    """Open the recipe's tracker for a run that goes on after `step`; none in processes but the first."""
    kind = TRACKERS[recipe.tracker] if recipe.tracker is not None and first else None
    tracker = NoTracker() if kind is None else kind(recipe, folder, step)
    try:
        yield tracker
    finally:
        tracker.close()


def numbers_of(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers of a line of metrics, its step left out."""
    return {
        name: float(value)
        for name, value in line.items()
        if name != "step" and isinstance(value, int | float) and math.isfinite(value)
    }
