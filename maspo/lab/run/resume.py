"""A run that was cut off and goes on: is it the same run, and what of it is there already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch

from maspo import files
from maspo.data import Problem
from maspo.errors import InputError
from maspo.lab.provenance import versions
from maspo.lab.run.folder import RunFolder
from maspo.models.device import best_device
from maspo.recipes import Recipe

MAY_CHANGE = {"about", "reward.workers", "training.save_every", "training.keep"}
"""Settings that a run may be continued with other values of, as they leave its results alone."""

NUMBERS_HASHED = 4096
"""Numbers of each tensor that go into the fingerprint of a model."""


def run_fingerprint(
    recipe: Recipe,
    model: Any,
    tokenizer: Any,
    problems: Mapping[str, Sequence[Problem]],
    processes: int,
) -> dict[str, str]:
    """Describe, by name, everything that the result of a run depends on."""
    found = {
        key: json.dumps(value) for key, value in _flat(recipe.model_dump()) if key not in MAY_CHANGE
    }
    found["the weights of the model"] = _digest_of_model(model)
    found["the tokenizer"] = _digest([tokenizer.chat_template, len(tokenizer)])
    for name, each in problems.items():
        found[f"the {name} problems"] = _digest([asdict(one) for one in each])
    for spec in recipe.reward.specs:
        found[f"the code of the reward {spec.name}"] = _digest(spec.code())
    found["the number of processes"] = str(processes)
    found["the device"] = best_device().type
    found |= {
        name: number for name, number in versions().items() if name not in ("python", "datasets")
    }
    return found


@contextmanager
def claimed_run(folder: RunFolder, found: Mapping[str, str]) -> Iterator[bool]:
    """Begin the run in `folder`, or continue it and give true; no other process may do so meanwhile.

    Raises InputError where the unfinished run there is another one, naming what differs, or where a
    process works on it.
    """
    folder.create()
    begun = folder.path / folder.UNFINISHED
    with files.claimed(folder.path, f"another process works on the run in {folder.path}"):
        new = not begun.exists()
        if new:
            files.write_json(begun, found)
        else:
            _compare(folder, files.read_json(begun), found)
        yield not new


def _compare(folder: RunFolder, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    for key in dict.fromkeys((*now, *before)):
        old, new = before.get(key, "absent"), now.get(key, "absent")
        if old != new:
            digests = key.startswith("the ") and len(old) == len(new) == 64
            what = f"{key} changed" if digests else f"{key} was {old}, not {new}"
            raise InputError(
                f"{folder.path} holds an unfinished run of which {what}; continue it with "
                f"`maspo train {folder.path}/recipe.yaml --out {folder.path}` or choose another --out"
            )


def cut_metrics(folder: RunFolder, step: int) -> float:
    """Cut off the metrics after `step`, and give the seconds of training up to there."""
    path = folder.path / "metrics.jsonl"
    if not path.exists():
        return 0.0
    kept = [row for row in files.read_lines(path, torn=True) if row["step"] <= step]
    files.write_lines(path, kept)
    return kept[-1]["seconds"] if kept else 0.0


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _digest_of_model(model: Any) -> str:
    """Hash names, shapes and numbers spread over each tensor: enough to tell models apart."""
    content = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        flat = tensor.detach().reshape(-1)
        step = max(1, flat.numel() // NUMBERS_HASHED)
        content.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        content.update(flat[::step].contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return content.hexdigest()
