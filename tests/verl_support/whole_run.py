"""A run from `maspo train --engine verl` through kill, resume, export and `maspo eval` to a report.

    PYTHONPATH=tests python tests/verl_support/whole_run.py OUT

What is added to the recipe is what a machine without a GPU needs. Everything goes through the command
line; the folder OUT/run and what the commands printed are what a test looks at.
"""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from verl_support.calling import done, maspo, surroundings
from verl_support.environment import ENVIRONMENT, ON_CPU

RECIPE = {
    "name": "whole",
    "seed": 1,
    "data": {"limit": 32},
    "rollout": {"prompts": 8, "samples": 8, "max_completion_tokens": 20},
    "training": {
        "rollouts": 3,
        "updates_per_rollout": 2,
        "micro_batch": 8,
        "learning_rate": 1e-4,
        "precision": "float32",
        "kl": 0.05,
        "save_every": 1,
    },
    "evaluation": {"data": {"split": "test", "limit": 8}, "samples": 2},
    "verl": ON_CPU,
}


def rollouts_logged(run):
    """Count the rollouts of which verl has written checkpoint and metrics."""
    path = run / "verl.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return sum("training/global_step" in line for line in lines)


def killed_after_a_rollout(words, run, log, patience=400):
    """Start a run, send SIGTERM once a rollout is on file, and return the exit code."""
    with log.open("w") as file:
        child = subprocess.Popen(words, env=surroundings(**ENVIRONMENT), stdout=file, stderr=file)
    end = time.monotonic() + patience
    while not rollouts_logged(run) and child.poll() is None and time.monotonic() < end:
        time.sleep(0.5)
    child.send_signal(signal.SIGTERM)
    return child.wait(timeout=120)


def main(out):
    out.mkdir(parents=True, exist_ok=True)
    run, recipe = out / "run", out / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    sums = [{"problem": f"{a}+{b}", "answer": str(a + b)} for a, b in ((1, 2), (12, 7))]
    benchmark = out.parent / "sums.jsonl"  # names of benchmarks end at a comma
    benchmark.write_text("".join(json.dumps(row) + "\n" for row in sums))
    codes = {}
    train = maspo("train", recipe, "--engine", "verl", "--out", run)
    codes["train"] = killed_after_a_rollout(train, run, out / "train.log")
    codes["rollouts before the kill"] = rollouts_logged(run)
    codes["resume"] = done(maspo("resume", run), out / "resume.log")
    codes["export"] = done(maspo("export", run, "--out", out / "model"), out / "export.log")
    asked = ["--benchmarks", benchmark, "--samples", 2, "--max-tokens", 20]
    asked += ["--template", "{problem}", "--engine", "transformers", "--out", out / "eval"]
    codes["eval"] = done(maspo("eval", out / "model", *asked), out / "eval.log")
    codes["report"] = done(
        maspo("report", out / "eval", run, "--out", out / "report"), out / "report.log"
    )
    (out / "codes.json").write_text(json.dumps(codes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
