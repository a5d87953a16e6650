"""verl's whole loop, `main_ppo`, on CPUs: some rollouts of a recipe with the embedded model.

    PYTHONPATH=tests python tests/verl_support/three_steps.py OUT [--digits] [recipe=FILE] [KEY=VALUE ...]

With --digits the reward is a trivial one, and ten rollouts must raise it. The recipe goes through the
package's own launcher; what is added stands in ON_CPU: no GPU, transformers instead of vLLM. Writes
OUT/verl.log and OUT/metrics.jsonl, a line for each rollout.
"""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

from maspo.engines.verl.cluster import Cluster
from maspo.engines.verl.export import write_problems
from maspo.engines.verl.launch import checked_overrides, command
from maspo.recipes import load_recipe
from verl_support.environment import ENVIRONMENT

ON_CPU = [
    "trainer.device=cpu",
    "trainer.resume_mode=disable",
    "ray_kwargs.ray_init.num_cpus=16",
    "+ray_kwargs.ray_init.num_gpus={gpus}",
    "+ray_kwargs.ray_init._node_ip_address=127.0.0.1",
    "+ray_kwargs.ray_init.include_dashboard=false",
    "actor_rollout_ref.rollout.name=transformers",
    "actor_rollout_ref.rollout.free_cache_engine=False",
    "actor_rollout_ref.rollout.enforce_eager=True",
    "actor_rollout_ref.rollout.load_format=auto",
    "actor_rollout_ref.rollout.agent.num_workers=1",
    "actor_rollout_ref.actor.fsdp_config.use_torch_compile=False",
    "actor_rollout_ref.actor.use_torch_compile=False",
    "actor_rollout_ref.model.use_remove_padding=False",
    "+actor_rollout_ref.model.override_config.attn_implementation=eager",
    "data.dataloader_num_workers=0",
    "reward.num_workers=1",
    "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
]
"""Overrides for a machine without a GPU."""


def metrics_of(log):
    """Read verl's console lines, `step:1 - key:value - ...`, into dictionaries of numbers."""
    found = []
    for line in re.findall(r"step:\d+ - .*", log):
        pairs = (pair.rpartition(":")[::2] for pair in line.split(" - "))
        found.append({key: float(re.sub(r"np\.\w+\((.*)\)", r"\1", text)) for key, text in pairs})
    return found


def run(folder, changes, gpus=1, extra=(), timeout=600):
    """Run verl on `quickstart`, or on `recipe=FILE` among `changes`; give exit code and metrics."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(ENVIRONMENT)  # before anything imports verl
    named = [text.removeprefix("recipe=") for text in changes if text.startswith("recipe=")]
    changes = [text for text in changes if not text.startswith("recipe=")]
    name = named[0] if named else "quickstart"
    recipe = load_recipe(name, ["training.precision=float32", *changes])
    settings = checked_overrides(recipe, Cluster(gpus_per_node=gpus), folder)
    write_problems(recipe, folder / "data")
    words = command([*settings, *(text.format(gpus=gpus) for text in ON_CPU), *extra])
    log = folder / "verl.log"
    with log.open("w") as file:
        done = subprocess.run(
            words,
            env=os.environ | ENVIRONMENT,
            stdout=file,
            stderr=file,
            timeout=timeout,
            check=False,
        )
    found = metrics_of(log.read_text(errors="replace"))
    lines = [json.dumps(line) + "\n" for line in found]
    (folder / "metrics.jsonl").write_text("".join(lines))
    return done.returncode, found


THREE = ["training.rollouts=3", "rollout.prompts=8", "training.updates_per_rollout=2"]
THREE += ["training.micro_batch=8", "evaluation.data.limit=16", "evaluation.samples=2"]
TEN = ["training.rollouts=10", "rollout.prompts=8", "training.updates_per_rollout=4"]
TEN += ["training.micro_batch=16", "evaluation.data.limit=8", "rollout.max_completion_tokens=24"]
TEN += ["training.learning_rate=3e-4"]
DIGITS = ["reward.custom_reward_function.path=pkg://verl_support.reward"]
DIGITS += ["trainer.val_before_train=False", "trainer.test_freq=-1"]


def check(metrics, rollouts):
    """Fail unless every rollout was trained on with our loss, on weights that had reached the sampler."""
    steps = [line for line in metrics if "actor/grad_norm" in line]
    assert len(steps) == rollouts, f"{len(steps)} rollouts of {rollouts}"
    for line in steps:
        assert 0 < line["actor/grad_norm"] < math.inf
        assert line["actor/maspo/gate_mean"] <= 1
        assert line["rollout_corr/log_ppl_abs_diff"] < 1e-4
    assert any(abs(line["actor/maspo/ratio_mean"] - 1) > 1e-5 for line in steps)
    entropies = [line["actor/entropy"] for line in steps]
    assert len(set(entropies)) == rollouts, "the weights did not change"
    return steps


if __name__ == "__main__":
    out, *changes = sys.argv[1:]
    digits = "--digits" in changes
    changes = [text for text in changes if text != "--digits"]
    base = TEN if digits else THREE
    code, metrics = run(Path(out), [*base, *changes], extra=DIGITS if digits else ())
    shown = ("step", "val-core", "actor", "critic/score/mean", "rollout_corr/log_ppl_abs_diff")
    for line in metrics:
        print({key: value for key, value in line.items() if key.startswith(shown)})
    assert code == 0, f"verl ended with {code}; see {out}/verl.log"
    steps = check(metrics, 10 if digits else 3)
    if digits:
        scores = [line["critic/score/mean"] for line in steps]
        assert sum(scores[-3:]) > sum(scores[:3]) + 0.15, scores
