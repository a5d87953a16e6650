"""A run from `maspo train --engine verl` through kill, resume, export and `maspo eval` to a report.

    PYTHONPATH=tests python tests/verl_support/whole_run.py OUT

What is added to the recipe is what a machine without a GPU needs. Everything goes through the command
line; the folder OUT/run and what the commands printed are what a test looks at.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from verl_support.environment import ENVIRONMENT

ON_CPU = {
    "trainer.device": "cpu",
    "ray_kwargs.ray_init.num_cpus": 16,
    "+ray_kwargs.ray_init.num_gpus": 1,
    "+ray_kwargs.ray_init._node_ip_address": "127.0.0.1",
    "+ray_kwargs.ray_init.include_dashboard": False,
    "actor_rollout_ref.rollout.name": "transformers",
    "actor_rollout_ref.rollout.free_cache_engine": False,
    "actor_rollout_ref.rollout.enforce_eager": True,
    "actor_rollout_ref.rollout.load_format": "auto",
    "actor_rollout_ref.rollout.agent.num_workers": 1,
    "actor_rollout_ref.actor.fsdp_config.use_torch_compile": False,
    "actor_rollout_ref.actor.use_torch_compile": False,
    "actor_rollout_ref.model.use_remove_padding": False,
    "+actor_rollout_ref.model.override_config.attn_implementation": "eager",
    "data.dataloader_num_workers": 0,
    "reward.num_workers": 1,
    "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
}
"""verl's settings for a machine without a GPU."""

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


def maspo(*words):
    return [sys.executable, "-m", "maspo", *map(str, words)]


def rollouts_logged(run):
    """Count the rollouts of which verl has written checkpoint and metrics."""
    path = run / "verl.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return sum("training/global_step" in line for line in lines)


def killed_after_a_rollout(words, run, log, patience=400):
    """Start a run, send SIGTERM once a rollout is on file, and return the exit code."""
    with log.open("w") as file:
        child = subprocess.Popen(words, env=os.environ | ENVIRONMENT, stdout=file, stderr=file)
    end = time.monotonic() + patience
    while not rollouts_logged(run) and child.poll() is None and time.monotonic() < end:
        time.sleep(0.5)
    child.send_signal(signal.SIGTERM)
    return child.wait(timeout=120)


def done(words, log, patience=500):
    """Run a command to its end and return the exit code."""
    with log.open("w") as file:
        return subprocess.run(
            words, env=os.environ | ENVIRONMENT, stdout=file, stderr=file, timeout=patience,
            check=False,
        ).returncode  # fmt: skip


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
