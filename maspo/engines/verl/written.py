"""What verl has written into the folder of a run: metrics, samples of its validations, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from maspo import files
from maspo.engines.verl.sections import METRICS, VALIDATION
from maspo.sampling import Sample

COMMON_NAMES = {
    "actor/entropy": "entropy",
    "actor/grad_norm": "grad_norm",
    "actor/kl_loss": "kl",
    "actor/loss": "loss",
    "actor/lr": "learning_rate",
    "critic/score/mean": "reward",
    "response_length/mean": "completions/mean_length",
}
"""verl's names of what every engine logs, and the common ones; all others keep verl's."""

OURS = "actor/maspo/"
"""Before the metrics of our losses, in verl."""

SECONDS = ("timing_s/step", "timing_s/testing")


def read_metrics(folder: Path, updates: int, limit: int) -> list[dict[str, Any]]:
    """Read verl's metrics, a line for each rollout; `updates` is the optimizer steps of one.

    `limit` is the most tokens of a completion, for `completions/clipped_ratio`: the share that has as many.
    `step` counts optimizer steps, `seconds` from the start of this process of verl's. What verl logs
    without training, as an evaluation before it, is left out, and so is a mean of nothing: NaN, where no
    group of a rollout had a signal.
    """
    lines, seconds = [], 0.0
    for row in files.read_lines(folder / METRICS, torn=True):
        data = row["data"]
        seconds += sum(data.get(key) or 0.0 for key in SECONDS)
        if "training/global_step" in data:
            named = {_name(key): data[key] for key in data if files.plain(data[key]) is not None}
            cut = _clipped(data, limit)
            lines.append({"step": row["step"] * updates, "seconds": seconds, **named, **cut})
    return lines


def _clipped(data: Mapping[str, Any], limit: int) -> dict[str, float]:
    """Return the share of completions at the limit; verl counts those as long as the longest there is."""
    longest, share = data.get("response_length/max"), data.get("response_length/clip_ratio")
    if longest is None or share is None:
        return {}
    return {"completions/clipped_ratio": share if longest >= limit else 0.0}


def _name(key: str) -> str:
    return COMMON_NAMES.get(key) or ("maspo/" + key[len(OURS) :] if key.startswith(OURS) else key)


def read_validations(folder: Path, seed: int) -> dict[int, list[Sample]]:
    """Read the samples of verl's validations by the rollouts before each.

    Validations that another reward manager than ours was used in say too little of their samples, and
    are left out.
    """
    found = {}
    for path in (folder / VALIDATION).glob("*.jsonl"):
        rows = files.read_lines(path, torn=True)
        if path.stem.isdecimal() and rows and all("finish" in row for row in rows):
            found[int(path.stem)] = _samples(rows, seed)
    return dict(sorted(found.items()))


def _samples(rows: list[dict[str, Any]], seed: int) -> list[Sample]:
    numbers: dict[str, Any] = {}
    return [
        _sample(row, next(numbers.setdefault(row["problem_id"], count())), seed) for row in rows
    ]


def _sample(row: Mapping[str, Any], index: int, seed: int) -> Sample:
    return Sample(
        problem_id=row["problem_id"],
        index=index,
        seed=seed,
        text=row["output"],
        tokens=row["tokens"],
        finish=row["finish"],
    )


def latest_checkpoint(folder: Path) -> tuple[Path | None, int]:
    """Return the newest checkpoint of `folder` and the rollouts before it; None and 0 without one.

    verl notes it once it is whole, and goes on from it.
    """
    note = folder / "latest_checkpointed_iteration.txt"
    if not note.exists():
        return None, 0
    rollouts = int(note.read_text("utf-8"))
    place = folder / f"global_step_{rollouts}"
    return (place, rollouts) if place.is_dir() else (None, 0)
