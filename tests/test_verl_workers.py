"""verl's processes for real, without a GPU: Ray, gloo and FSDP2 in place of NCCL and CUDA.

What verl lacks for that is in `verl_support`. Every part runs in a process of its own, for verl reads
its environment once, and within a time limit, for a worker that dies can leave others waiting.
"""

import json

import pytest
import torch
import yaml

pytest.importorskip("verl", reason="verl is not installed")

from verl_support import updates
from verl_support.calling import done, maspo, run
from verl_support.environment import ON_CPU

from maspo import make_objective, policy_loss

ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
BESIDE = {
    "+ray_kwargs.ray_init.num_gpus": 2,
    f"{ACTOR}.use_dynamic_bsz": True,
    f"{ACTOR}.ppo_max_token_len_per_gpu": 64,
    f"{ROLLOUT}.log_prob_max_token_len_per_gpu": 64,
    "algorithm.rollout_correction.bypass_mode": True,
    "trainer.v1.trainer_mode": "colocate_async",
}


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def plain_loss(rows, parts, new, entropies, step):
    """Sum the loss of micro-batches that several processes hold, each a list of rows, by the library."""
    objective, tokens = make_objective(**step["objective"]), rows["response_mask"].sum()
    found = []

    def on(each, sum_over_processes):
        return policy_loss(
            new[each], rows["old_log_probs"][each], rows["advantages"][each],
            rows["response_mask"][each], objective=objective, reduction="token-mean",
            denominator=tokens, rollout_weights=rows["rollout_is_weights"][each],
            entropies=entropies[each], sum_over_processes=sum_over_processes,
        )  # fmt: skip

    for together in parts:
        sums = []
        for each in together:  # what every process would add
            with torch.no_grad():
                on(each, lambda own, sums=sums: sums.append(own) or own)
        total = sum(sums) if sums else None
        found += [on(each, lambda _, total=total: total) for each in together]
    return found


def plain_updates(world):
    """Take the same updates as `verl_support.updates` with the library and plain PyTorch alone."""
    from transformers import AutoModelForCausalLM

    from maspo.models import EMBEDDED

    rows = updates.responses()
    rows["old_log_probs"] = updates.old_log_probs(rows)
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=updates.LEARNING_RATE, weight_decay=0.0)
    share = updates.ROWS // world
    for step in updates.STEPS:
        micro = updates.micro_of(step, world)
        parts = [
            [slice(rank * share + n, rank * share + n + micro) for rank in range(world)]
            for n in range(0, share, micro)
        ]
        new, entropies = updates.scores(model, rows)
        losses = plain_loss(rows, parts, new, entropies.detach(), step)
        loss = sum(one.loss for one in losses)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        pooled = {}
        for one in losses:
            for name, mean in one.metrics.items():
                pooled[name] = pooled[name] + mean if name in pooled else mean
        metrics = {f"actor/{name}": float(mean) for name, mean in pooled.items()}
        yield {"loss": loss.item(), "grad_norm": norm.item(), **metrics}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("updates") / "found.json"
    run("updates.py", out, limit=600)
    return json.loads(out.read_text())


@pytest.mark.parametrize("world", [1, 2])
def test_updates_in_ray_workers_are_those_of_plain_pytorch(found, world):
    exact = ("gate_mean", "gate_active", "ratio_mean", "effective_ratio_mean", "grad_mass_vs_clip")
    verls = found[str(world)]
    for step, expected, got in zip(updates.STEPS, plain_updates(world), verls, strict=True):
        names = [f"actor/maspo/{name}" for name in exact if f"actor/maspo/{name}" in expected]
        keys = ("loss", "grad_norm", *names) if "drawn" not in step else names[1:2]
        for key in keys:
            assert got[key] == pytest.approx(expected[key], rel=2e-5, abs=2e-6), (step, key)
        assert step["objective"]["name"] != "maspo" or len(names) == len(exact)
    assert abs(verls[2]["loss"] - verls[0]["loss"]) > 0.01  # the weights did change


def test_one_process_and_two_give_the_same_but_where_micro_batches_are_coupled(found):
    same = [
        one["loss"] == pytest.approx(two["loss"], rel=2e-5, abs=2e-6)
        for one, two in zip(found["1"], found["2"], strict=True)
    ]
    whole = ["coupling" not in step for step in updates.STEPS]
    assert all(equal for equal, alone in zip(same, whole, strict=True) if alone)
    assert not all(same)


def test_a_run_that_samples_while_it_trains_on_programs_and_a_function(tmp_path):
    """Two processes, dynamic batches, verl's asynchronous trainer, the sampler's policy as the old one."""
    from bigram import make_bigram
    from test_training_by_rewards import CODE, PRINT, recipe

    path = recipe(tmp_path, PRINT, [*CODE, {"source": "mine.py:length", "weight": 0.01}])
    whole = yaml.safe_load(path.read_text()) | {
        "model": {"source": str(make_bigram(tmp_path / "model"))},
        "rollout": {"prompts": 8, "samples": 4, "max_completion_tokens": 24},
        "training": {"rollouts": 2, "updates_per_rollout": 2, "learning_rate": 1e-3}
        | {"micro_batch": 8, "precision": "float32"},
        "verl": ON_CPU | BESIDE,
    }
    whole["data"]["max_prompt_tokens"] = 40
    whole["evaluation"]["samples"] = 2
    path.write_text(yaml.safe_dump(whole))
    run, log = tmp_path / "run", tmp_path / "log"
    words = maspo("train", path, "--engine", "verl", "--gpus-per-node", 2, "--out", run)
    assert done(words, log) == 0, log.read_text()[-4000:]
    first, second = read(run / "metrics.jsonl")
    # every program is 22 characters long; some of the 32 of a rollout print the right digit
    assert all(0.22 < line["reward"] <= 1.22 for line in (first, second))
    assert first["completions/clipped_ratio"] == 0  # all six tokens long, of 24
    assert "entropy" not in second  # no pass for old log-probabilities: they are the sampler's
    assert second["maspo/ratio_p99"] > 1 + 1e-4  # it has moved since; the mean may come back to 1
    lag = "training/off_policy/trajectory_staleness/mean"
    assert (first[lag], second[lag]) == (0, 1)  # sampled before the update that came between
    assert len([*run.glob("checkpoints/global_step_2/actor/model_world_size_2_rank_*.pt")]) == 2
    last = read(run / "verl.jsonl")[-1]["data"]
    parts = {key: value for key, value in last.items() if "rewards/" in key and "mean@2" in key}
    by_name = {key.split("rewards/")[1].split("/")[0]: value for key, value in parts.items()}
    assert by_name["length"] == pytest.approx(22)
    assert 0 <= by_name["runs"] <= 1
