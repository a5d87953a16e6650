"""Checkpoint folders that can be trusted: whole or absent, checksummed, bounded in number."""

from __future__ import annotations

import hashlib
import shutil
import warnings
from contextlib import suppress
from pathlib import Path

from maspo.errors import InputError
from maspo.files import read_json, sync, write_json

CHECKSUMS = "checksums.json"
"""File of a checkpoint that names all its other files with their SHA-256."""

STAGING = "_writing"
"""Folder beside the checkpoints in which one is written, and in which an old one is removed.

Transformers leaves names that begin so out of what it uploads.
"""

STATE = "trainer_state.json"
"""File of every checkpoint of transformers."""

DEALT_OUT = {"FSDP": "pytorch_model_fsdp*", "DeepSpeed": "global_step*"}
"""What a checkpoint holds where weights were dealt out to processes, by what dealt them."""

_PREFIX = "checkpoint-"


def publish(written: Path, place: Path) -> None:
    """Make a written checkpoint durable, then give it its name in one step.

    A process that is killed, or a machine that loses power, leaves `place` whole or absent.
    """
    files = _files(written)
    sums = {str(file.relative_to(written)): _sha256(file) for file in files}
    write_json(written / CHECKSUMS, sums)
    for file in (*files, *(one for one in written.rglob("*") if one.is_dir())):
        sync(file)
    sync(written)
    _discard(place)
    written.rename(place)
    _remove_if_empty(written.parent)
    sync(place.parent)


def flaw(place: Path) -> str | None:
    """Say what is wrong with a checkpoint; None where every file is as it was written."""
    if (place / STATE).exists() and not (place / CHECKSUMS).exists():
        return (
            f"it has no {CHECKSUMS}, so it is one of stock TRL or transformers, which lacks the rollout "
            "in use; continue it there, or start anew from its weights"
        )
    try:
        sums = read_json(place / CHECKSUMS)
        for name, digest in sums.items():
            if not (place / name).is_file():
                return f"{name} is missing"
            if _sha256(place / name) != digest:
                return f"{name} is not what was written"
    except (OSError, ValueError, AttributeError):
        return f"{CHECKSUMS} cannot be read"
    return None


def last_good(folder: Path) -> Path | None:
    """Return the newest undamaged checkpoint under `folder`, and warn of newer ones that are not."""
    for place in reversed(checkpoints(folder)):
        wrong = flaw(place)
        if wrong is None:
            return place
        warnings.warn(f"{place} is passed over: {wrong}", stacklevel=2)
    return None


def why_none(folder: Path) -> str:
    """Say why `last_good` found nothing under `folder`."""
    found = checkpoints(folder)
    if not found:
        return f"{folder} holds no checkpoint to continue from"
    return f"{folder} holds no checkpoint to continue from: {found[-1].name}: {flaw(found[-1])}"


def check_checkpoint(place: Path) -> Path:
    """Give `place` back; InputError where it is no undamaged checkpoint."""
    wrong = flaw(place)
    if wrong is not None:
        raise InputError(f"{place} is no checkpoint to continue from: {wrong}")
    return place


def check_form(place: Path, now: str | None) -> None:
    """Raise InputError where weights were dealt out otherwise than `now`, a name of `DEALT_OUT` or None."""
    then = next((name for name, files in DEALT_OUT.items() if any(place.glob(files))), None)
    if then != now:
        raise InputError(
            f"{place} was written {f'under {then}' if then else 'with whole weights'}, not "
            f"{f'under {now}' if now else 'with whole weights'} as now: go on as it began"
        )


def checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints under `folder`, the oldest first."""
    return sorted(
        (p for p in folder.glob(f"{_PREFIX}*") if p.name.removeprefix(_PREFIX).isdigit()),
        key=step_of,
    )


def step_of(place: Path) -> int:
    """Give the number of optimizer steps that a checkpoint was written after."""
    return int(place.name.removeprefix(_PREFIX))


def keep_last(folder: Path, count: int, best: Path | None = None) -> None:
    """Remove all checkpoints under `folder` but the newest `count`, of which `best` is one.

    As in transformers, the newest and the best both stay where `count` is 1.
    """
    found = checkpoints(folder)
    spared = {place for place in (best, *found[-1:]) if place in found} if count else set()
    others = [place for place in found if place not in spared]
    for place in others[: max(0, len(found) - max(count, len(spared)))]:
        _discard(place)


def sweep(folder: Path) -> None:
    """Remove what a killed process left half written or half removed."""
    shutil.rmtree(folder / STAGING, ignore_errors=True)


def _discard(place: Path) -> None:
    """Remove a checkpoint; what is killed on the way is no checkpoint any more."""
    if place.exists():
        grave = place.parent / STAGING / f"old-{place.name}"
        grave.parent.mkdir(exist_ok=True)
        shutil.rmtree(grave, ignore_errors=True)
        place.rename(grave)
        shutil.rmtree(grave)
        _remove_if_empty(grave.parent)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
