"""Kill a training run at random instants, let it go on, and compare it with one left alone.

    python scripts/kill_and_resume.py --kills 20 --seed 0 --work /tmp/kills

Weights, metrics (seconds aside), prompts, completions and evaluations must be equal bit for bit.
Exit code 1 where they are not. One line of JSON is printed for each kill and each comparison.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SHORT = [
    "training.rollouts=12", "training.updates_per_rollout=4", "training.micro_batch=8",
    "training.save_every=1", "training.learning_rate=1e-3", "training.schedule=linear",
    "rollout.prompts=8", "rollout.samples=8", "data.limit=40", "evaluation.data.limit=24",
    "evaluation.samples=4", "trl.log_completions=true",
]  # fmt: skip
"""A quickstart of half a minute: 12 rollouts over 2.4 epochs of 40 problems, 48 optimizer steps."""

CLOCKS = ("seconds", "step_time")
"""Endings of the names of metrics that measure time, which is never the same."""

MOMENTS = ("any", "before", "rollout", "checkpoint", "after")


def command(out: Path, settings: list[str]) -> list[str]:
    words = [word for item in settings for word in ("--set", item)]
    return [sys.executable, "-m", "maspo", "train", *words, "--out", str(out)]


def start(out: Path, settings: list[str]) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with (out.parent / f"{out.name}.log").open("ab") as log:
        return subprocess.Popen(
            command(out, settings), stdout=log, stderr=subprocess.STDOUT, env=environment
        )


def finish(out: Path, settings: list[str]) -> float:
    """Run to the end, and give the seconds that took."""
    began = time.perf_counter()
    code = start(out, settings).wait()
    if code:
        raise SystemExit(f"exit code {code}:\n" + (out.parent / f"{out.name}.log").read_text())
    return time.perf_counter() - began


def steps(out: Path) -> int:
    """Count the steps on file, whole lines only."""
    path = out / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def moments(out: Path, total: int) -> dict[str, Callable[[], Any]]:
    """Say of each kind of moment whether it has come, besides `any`."""
    before, begun = steps(out), time.time()

    def fresh(name: str) -> bool:
        """Whether a checkpoint is being written, by this process."""
        found = list((out / "checkpoints" / "_writing").glob(name))
        return any(path.stat().st_mtime > begun for path in found)

    return {
        "before": lambda: (out / "unfinished.json").exists(),
        "rollout": lambda: before + 3 < steps(out) or steps(out) == total,
        "checkpoint": lambda: fresh("checkpoint-*"),
        "after": lambda: steps(out) == total,
    }


def kill(out: Path, settings: list[str], total: int, kind: str, dice: random.Random, full: float):
    """Start the run and kill it at such a moment; give where it stood, None if it was faster."""
    came = moments(out, total).get(kind, lambda: True)
    running, began = start(out, settings), time.time()
    while running.poll() is None and not ready(came):
        time.sleep(0.002)
    spans = {"any": full, "before": 2.0, "rollout": 1.0, "checkpoint": 0.04, "after": 2.0}
    span = dice.uniform(0, spans[kind])
    while running.poll() is None and span > 0:
        time.sleep(min(span, 0.01))
        span -= 0.01
    if running.poll() is not None:
        assert running.returncode == 0, (out.parent / f"{out.name}.log").read_text()
        return None
    running.send_signal(signal.SIGKILL)
    running.wait()
    writing = [p.name for p in (out / "checkpoints" / "_writing").glob("checkpoint-*")]
    return {
        "moment": kind,
        "seconds": round(time.time() - began, 2),
        "steps": steps(out),
        "scored": sorted(path.parent.name for path in out.glob("evaluations/*/scores.json")),
        "writing": writing,
        "checkpoints": sorted(int(p.name[11:]) for p in out.glob("checkpoints/checkpoint-*")),
    }


def ready(came: Callable[[], Any]) -> bool:
    try:
        return bool(came())
    except FileNotFoundError:  # gone while we looked
        return False


def result(out: Path) -> dict[str, Any]:
    """Gather all that must be equal, by name."""
    import pandas

    lines = (out / "metrics.jsonl").read_text().splitlines()
    tables = {
        path.stem: pandas.read_parquet(path).to_json(orient="split")
        for path in sorted((out / "checkpoints" / "completions").glob("*.parquet"))
    }
    summary = json.loads((out / "summary.json").read_text())
    return {
        "weights": hashlib.sha256((out / "model" / "model.safetensors").read_bytes()).hexdigest(),
        "metrics": [without_clocks(json.loads(line)) for line in lines],
        "rollouts": tables,
        "evaluations": {
            str(path.relative_to(out)): path.read_text()
            for name in ("samples", "verdicts")
            for path in sorted(out.glob(f"evaluations/*/{name}.jsonl"))
        },
        "summary": without_clocks(summary),
    }


def without_clocks(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if not key.endswith(CLOCKS)}


def differences(one: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    for key in one:
        if one[key] != other[key]:
            yield key


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--each", type=int, default=4, help="kills of one run before it may finish")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs; emptied")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--moments", default=",".join(MOMENTS))
    chosen = parser.parse_args()
    shutil.rmtree(chosen.work, ignore_errors=True)
    chosen.work.mkdir(parents=True)
    settings, dice = SHORT + chosen.set, random.Random(chosen.seed)
    alone = chosen.work / "alone"
    full = finish(alone, settings)
    expected, total = result(alone), steps(alone)
    say(run="alone", seconds=round(full, 1), steps=total, weights=expected["weights"])
    kinds: list[str] = []
    done = number = wrong = 0
    while done < chosen.kills:
        out = chosen.work / f"killed-{number}"
        number += 1
        for _ in range(min(chosen.each, chosen.kills - done)):
            if not kinds:
                kinds = dice.sample(chosen.moments.split(","), len(chosen.moments.split(",")))
            stood = kill(out, settings, total, kinds.pop(), dice, full)
            if stood is None:
                break
            done += 1
            say(run=out.name, kill=done, **stood)
        if (out / "unfinished.json").exists() or not (out / "summary.json").exists():
            full = min(full, finish(out, settings))
        other = result(out)
        found = list(differences(expected, other))
        wrong += bool(found)
        say(run=out.name, equal=not found, differing=found, weights=other["weights"])
    say(kills=done, runs=number, differing=wrong, steps=total, seed=chosen.seed)
    raise SystemExit(1 if wrong else 0)


def say(**row: Any) -> None:
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
