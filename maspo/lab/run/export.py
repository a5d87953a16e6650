"""The model of a run that a framework of its own carries out, in the format that everybody reads."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from maspo import files
from maspo.errors import InputError
from maspo.lab.run.folder import RunFolder
from maspo.lab.run.launched import launched_with


def export_model(folder: RunFolder, target: Path | None) -> tuple[Path, int]:
    """Write the model of the newest checkpoint to `target`, or to `model` in the folder of the run.

    Returns the place and the rollouts before the checkpoint. Raises InputError where there is no such run
    or checkpoint, and where `target` holds something.
    """
    found = launched_with(folder)
    if found is None:
        raise InputError(
            f"{folder.path} holds no run of --engine verl; a run of --engine trl leaves its model in "
            f"{folder.path / 'model'}"
        )
    if target is not None and target.exists() and (target.is_file() or any(target.iterdir())):
        raise InputError(f"{target} already holds something; choose another --out or remove it")
    engine, _ = found
    checkpoint, rollouts = engine.latest(folder.path / "checkpoints")
    if checkpoint is None:
        raise InputError(f"the run in {folder.path} has written no checkpoint yet")
    place = target or folder.path / "model"
    place.parent.mkdir(parents=True, exist_ok=True)
    files.write_folder(place, partial(engine.export, checkpoint))
    return place, rollouts
