"""A run that was cut off and goes on: is it the same run, and what of it is there already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch

from maspo import files
from maspo.data import Problem
from maspo.engines.engine import Launch
from maspo.errors import InputError
from maspo.lab.provenance import versions
from maspo.lab.run.folder import RunFolder
from maspo.models.device import best_device
from maspo.recipes import Recipe

MAY_CHANGE = {
    "about",
    "tracker",
    "push_to_hub",
    "reward.workers",
    "training.save_every",
    "training.keep",
}
"""Settings that a run may be continued with other values of, as they leave its results alone."""

CHANGING = {
    "training.rollouts": "--rollouts {}",
    "training.learning_rate": "--set training.learning_rate={}",
}
"""Settings that change a run which goes on, where `maspo resume` is told so: the option for each."""

NUMBERS_HASHED = 4096
"""Numbers of each tensor that go into the fingerprint of a model."""


def run_fingerprint(
    recipe: Recipe,
    model: Any,
    tokenizer: Any,
    problems: Mapping[str, Sequence[Problem]],
    processes: int,
) -> dict[str, str]:
    """Describe, by name, everything that the result of a run in this process depends on."""
    found = _recipe_fingerprint(recipe, problems, MAY_CHANGE)
    found["the weights of the model"] = _digest_of_model(model)
    found["the tokenizer"] = _digest([tokenizer.chat_template, len(tokenizer)])
    found["the number of processes"] = str(processes)
    found["the device"] = best_device().type
    return found | _versions()


def launch_fingerprint(
    recipe: Recipe, problems: Mapping[str, Sequence[Problem]], launch: Launch, free: Collection[str]
) -> dict[str, str]:
    """Describe what the result of a run by a command of its own depends on, as far as is known here.

    `free` names settings that leave it alone, beside those of `MAY_CHANGE`.
    """
    found = _recipe_fingerprint(recipe, problems, {*MAY_CHANGE, *free})
    found = {key: value for key, value in found.items() if value != "{}"}  # a section yet empty
    shape = {f"--{name.replace('_', '-')}": str(value) for name, value in launch.shape().items()}
    return found | shape | _versions()


def _recipe_fingerprint(
    recipe: Recipe, problems: Mapping[str, Sequence[Problem]], free: Collection[str]
) -> dict[str, str]:
    found = {key: json.dumps(value) for key, value in flat(recipe.model_dump()) if key not in free}
    for name, each in problems.items():
        found[f"the {name} problems"] = _digest([asdict(one) for one in each])
    for spec in recipe.reward.specs:
        found[f"the code of the reward {spec.name}"] = _digest(spec.code())
    return found


def _versions() -> dict[str, str]:
    return {name: one for name, one in versions().items() if name not in ("python", "datasets")}


@contextmanager
def claimed_run(
    folder: RunFolder, found: Mapping[str, str], *, resumed: bool = False
) -> Iterator[bool]:
    """Begin the run in `folder`, or go on with it and yield true; no other process may do so meanwhile.

    With `resumed` the run there may be finished, and the settings of `CHANGING` may differ. Raises
    InputError where the run there is another one, naming what differs, or where a process works on it.
    """
    folder.create()
    begun, ended = folder.path / folder.UNFINISHED, folder.path / folder.FINISHED
    with files.claimed(folder.path, f"another process works on the run in {folder.path}"):
        known = ended if resumed and folder.finished else begun
        new = not known.exists()
        if not new:
            _compare(folder, files.read_json(known), found, CHANGING if resumed else {})
            known.replace(begun)
        files.write_json(begun, found)
        yield not new


def _compare(
    folder: RunFolder,
    before: Mapping[str, str],
    now: Mapping[str, str],
    changing: Mapping[str, str],
) -> None:
    for key in dict.fromkeys((*now, *before)):
        old, new = before.get(key, "absent"), now.get(key, "absent")
        if old != new and key not in changing:
            digests = key.startswith("the ") and len(old) == len(new) == 64
            what = f"{key} changed" if digests else f"{key} was {old}, not {new}"
            words = CHANGING.get(key, "").format(new).split()
            cure = (
                "a run goes on only with what it began with"
                if changing
                else f"continue it with `{folder.resume_command(*words)}` or choose another --out"
            )
            raise InputError(f"{folder.path} holds a run of which {what}; {cure}")


def cut_metrics(folder: RunFolder, step: int) -> float:
    """Cut off the metrics after `step`, and give the seconds of training up to there."""
    path = folder.path / "metrics.jsonl"
    if not path.exists():
        return 0.0
    kept = [row for row in files.read_lines(path, torn=True) if row["step"] <= step]
    files.write_lines(path, kept)
    return kept[-1]["seconds"] if kept else 0.0


def flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every key of a recipe with its sections' names before it, and its value."""
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
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
