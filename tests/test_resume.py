"""Training that is cut off and goes on ends as training that was not, bit for bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import maspo
from maspo import files
from maspo.data import load_problems
from maspo.engines.engine import TrainingJob
from maspo.engines.trl import checkpoint
from maspo.engines.trl.callbacks import CollapseWarning
from maspo.engines.trl.training import train
from maspo.errors import InputError, RunError
from maspo.lab.run.folder import RunFolder
from maspo.lab.run.resume import claimed_run, cut_metrics
from maspo.models import load_model
from maspo.recipes import parse_recipe
from maspo.rewards import RewardSet
from maspo.rewards.function_reward import FunctionReward, FunctionSpec

pytestmark = [  # what these two say of the recipes here is meant, and tested elsewhere
    pytest.mark.filterwarnings("ignore:Clip-Cov weighs tokens by their place"),
    pytest.mark.filterwarnings("ignore:with 1 update per rollout every ratio is 1"),
]

REPOSITORY = Path(maspo.__file__).parents[1]
SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
CLOCKS = ("seconds", "step_time")
SMALL = {"prompts": 4, "samples": 4, "max_completion_tokens": 12}


def recipe(training=None, **rest):
    """Three rollouts of two updates with two micro-batches each; an epoch has two rollouts."""
    return parse_recipe(
        {
            "seed": 3,
            "data": {"limit": 9},
            "rollout": SMALL,
            "training": {
                "rollouts": 3,
                "updates_per_rollout": 2,
                "micro_batch": 4,
                "learning_rate": 1e-3,
                "schedule": "linear",
                "save_every": 1,
                "keep": 9,
            }
            | (training or {}),
            **rest,
        }
    )


def lengths(prompts, completions, **_):
    """Reward that differs between completions and prompts, from no verifier."""
    return [
        float(sum(map(ord, c[-1]["content"])) % 5 + len(p[-1]["content"]) % 3)
        for p, c in zip(prompts, completions, strict=True)
    ]


def by(function):
    """Make the rewards of a recipe whose only reward is a function."""
    return RewardSet([FunctionReward(function, "f")], [FunctionSpec(source="tests:f")])


def run(chosen, folder, *, resume=None, stop_after=None, **more):
    """Train in this process; give the lines of the log without clocks, and the weights."""
    model, tokenizer = load_model("embedded")
    problems = load_problems("arithmetic", limit=chosen.data.limit)
    lines, asked = [], count(1)  # asked once a step
    job = TrainingJob(
        recipe=chosen, model=model, tokenizer=tokenizer, problems=problems, rewards=by(lengths),
        folder=folder, sink=lines.append, resume=resume, stop=lambda: next(asked) == stop_after,
        **more,
    )  # fmt: skip
    done = train(job)
    rows = [{k: v for k, v in line.items() if not k.endswith(CLOCKS)} for line in lines]
    return rows, {name: tensor.clone() for name, tensor in done.model.state_dict().items()}


def equal(rows, others):
    """Compare logs in which NaN may stand."""
    return json.dumps(rows) == json.dumps(others)


def same(weights, others):
    return weights.keys() == others.keys() and all(
        torch.equal(weights[name], others[name]) for name in weights
    )


VARIANTS = {
    "plain": recipe(),
    "lora with dropout": recipe(model={"lora": {"rank": 2, "dropout": 0.1}}),
    "kl": recipe({"kl": 0.1}),
    "stale": recipe(rollout=SMALL | {"staleness": 1}),
    "stale adapters": recipe(
        {"updates_per_rollout": 1, "rollouts": 6},
        rollout=SMALL | {"staleness": 2},
        model={"lora": {"rank": 2}},
    ),
    "batch-coupled": recipe(objective={"name": "clip_cov"}),
    "rare log lines": recipe(trl={"logging_steps": 4}),
    "other settings of TRL": recipe(trl={"mask_truncated_completions": True}),
}


@pytest.fixture(scope="module", params=VARIANTS)
def alone(request, tmp_path_factory):
    """Train each variant without interruption."""
    folder = tmp_path_factory.mktemp("alone")
    return VARIANTS[request.param], run(VARIANTS[request.param], folder), folder


def test_an_extended_training_is_the_one_that_was_longer_from_the_start(tmp_path):
    longer = recipe({"rollouts": 5, "schedule": "constant"})
    rows, weights = run(longer, tmp_path / "longer")
    first, _ = run(recipe({"schedule": "constant"}), tmp_path / "short")
    rest, extended = run(longer, tmp_path / "short", resume=tmp_path / "short" / "checkpoint-6")
    assert len(first) == 6 and equal(first + rest, rows) and same(extended, weights)


def test_a_schedule_that_ends_goes_by_the_new_length(tmp_path):
    """It stood at zero; by hand the rate of the update after s of 10 steps is 1e-3 (1 - s / 10)."""
    first, _ = run(recipe(), tmp_path)
    rest, _ = run(recipe({"rollouts": 5}), tmp_path, resume=tmp_path / "checkpoint-6")
    assert [line["learning_rate"] for line in first] == pytest.approx(
        [1e-3 * (1 - s / 6) for s in range(6)]
    )
    assert [line["learning_rate"] for line in rest] == pytest.approx(
        [1e-3 * (1 - s / 10) for s in range(6, 10)]
    )


def test_a_new_learning_rate_is_that_of_the_updates(tmp_path):
    """So small a rate leaves every weight as it was; the checkpoint's would not."""
    _, stopped = run(recipe(), tmp_path, stop_after=2)
    rows, weights = run(
        recipe({"learning_rate": 1e-30}), tmp_path, resume=tmp_path / "checkpoint-2"
    )
    assert len(rows) == 4 and rows[0]["learning_rate"] == pytest.approx(1e-30 * (1 - 2 / 6))
    assert same(weights, stopped)


@pytest.mark.parametrize("step", [1, 2, 5])
def test_training_goes_on_from_any_step(alone, tmp_path, step):
    """1 and 5 lie within a rollout, 2 between two; 5 in the second epoch, whose order is its own."""
    chosen, (rows, weights), _ = alone
    first, _ = run(chosen, tmp_path, stop_after=step)
    place = checkpoint.last_good(tmp_path)
    assert place is not None and checkpoint.step_of(place) == step
    rest, resumed = run(chosen, tmp_path, resume=place)
    assert len(rows) >= 1 and equal(first + rest, rows)
    assert same(resumed, weights)


def test_the_data_order_of_later_epochs_is_not_that_of_the_first(tmp_path):
    """The variant that a resume which forgets the epoch would fail."""
    chosen = recipe({"rollouts": 6, "updates_per_rollout": 1, "micro_batch": 16})
    seen = []

    def spy(prompts, completions, **_):
        seen.append([p[-1]["content"] for p in prompts[::4]])
        return lengths(prompts, completions)

    model, tokenizer = load_model("embedded")
    problems = load_problems("arithmetic", limit=chosen.data.limit)
    job = TrainingJob(
        recipe=chosen, model=model, tokenizer=tokenizer, problems=problems, rewards=by(spy),
        folder=tmp_path, sink=lambda line: None,
    )  # fmt: skip
    train(job)
    assert len(seen) == 6 and all(one != other for one, other in pairwise(seen))
    whole, seen[:] = list(seen), []
    model, tokenizer = load_model("embedded")
    train(replace(job, model=model, tokenizer=tokenizer, resume=tmp_path / "checkpoint-3"))
    assert seen == whole[3:]


def test_a_finished_training_is_not_trained_further(alone):
    chosen, (_, weights), folder = alone
    rows, again = run(chosen, folder, resume=checkpoint.last_good(folder))
    assert rows == [] and same(again, weights)


@pytest.mark.filterwarnings("ignore:.* is passed over")  # each warning comes again with the next
def test_the_newest_undamaged_checkpoint_is_taken(alone, tmp_path):
    folder = Path(shutil.copytree(alone[2], tmp_path / "copy"))
    places = checkpoint.checkpoints(folder)
    per_rollout = alone[0].training.updates_per_rollout
    assert [checkpoint.step_of(place) for place in places] == list(
        range(per_rollout, 7, per_rollout)
    )
    assert checkpoint.last_good(folder) == places[-1]
    weights = next(places[-1].glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.warns(UserWarning, match=rf"{weights.name} is not what was written"):
        assert checkpoint.last_good(folder) == places[-2]
    (places[-2] / "optimizer.pt").unlink()
    with pytest.warns(UserWarning, match=r"optimizer.pt is missing"):
        assert checkpoint.last_good(folder) == places[-3]
    (places[-3] / checkpoint.CHECKSUMS).write_text("{")
    with pytest.warns(UserWarning, match=r"checksums.json cannot be read"):
        assert checkpoint.last_good(folder) == (places[-4] if len(places) > 3 else None)
    with pytest.raises(InputError, match="no checkpoint to continue from"):
        checkpoint.check_checkpoint(places[-1])


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    chosen = recipe()
    run(chosen, tmp_path, stop_after=1)
    place = tmp_path / "checkpoint-1"
    tensors = load_file(place / "model.safetensors")
    tensors["model.layers.9.mlp"] = tensors.pop(sorted(tensors)[-1])
    save_file(tensors, place / "model.safetensors")
    (place / checkpoint.CHECKSUMS).unlink()
    checkpoint.publish(place, tmp_path / "checkpoint-7")
    with pytest.raises(InputError, match="of another model"):
        run(chosen, tmp_path, resume=tmp_path / "checkpoint-7")


def test_old_checkpoints_are_removed_and_two_remain(tmp_path):
    run(recipe({"rollouts": 5, "keep": 0}), tmp_path)
    assert [checkpoint.step_of(place) for place in checkpoint.checkpoints(tmp_path)] == [8, 10]


def test_a_write_that_fails_leaves_the_checkpoints_as_they_were(tmp_path, monkeypatch):
    """As on a full disk, at the last thing that is written."""
    before = torch.save

    def full(content, path, *rest, **kwargs):
        if "checkpoint-4" in str(path) and "rollout_0" in str(path):
            raise OSError(28, "No space left on device")
        return before(content, path, *rest, **kwargs)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(
        RunError, match=r"after step 4 .*checkpoint-2 is the newest: .*No space left"
    ):
        run(recipe(), tmp_path)
    monkeypatch.undo()
    names = {place.name for place in tmp_path.iterdir()}
    assert "checkpoint-2" in names and "checkpoint-4" not in names
    assert checkpoint.last_good(tmp_path) == tmp_path / "checkpoint-2"
    rest, resumed = run(recipe(), tmp_path, resume=tmp_path / "checkpoint-2")
    whole, weights = run(recipe(), tmp_path / "alone")
    assert equal(rest, whole[2:]) and same(resumed, weights)


def test_what_the_collapse_warning_has_seen_is_kept():
    warning, other = CollapseWarning("advice"), CollapseWarning("advice")
    warning.rule.mean, warning.rule.best, warning.warned = 0.25, 0.75, True
    other.load_state_dict(json.loads(json.dumps(warning.state_dict())))
    assert vars(other.rule) == vars(warning.rule) and other.warned


# The folder of a run


def test_metrics_are_cut_at_the_step_of_the_checkpoint(tmp_path):
    folder = RunFolder(tmp_path)
    assert cut_metrics(folder, 3) == 0.0
    rows = [{"step": step, "seconds": step / 4} for step in range(1, 6)]
    files.write_lines(tmp_path / "metrics.jsonl", rows)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "sec')  # the process was killed here
    assert cut_metrics(folder, 3) == 0.75
    assert files.read_lines(tmp_path / "metrics.jsonl") == rows[:3]
    assert cut_metrics(folder, 0) == 0.0 and files.read_lines(tmp_path / "metrics.jsonl") == []


def test_a_run_that_differs_is_named_and_refused(tmp_path):
    folder, found = RunFolder(tmp_path / "run"), {"seed": "1", "the training problems": "a" * 64}
    with claimed_run(folder, found) as continued:
        assert not continued
        with (
            pytest.raises(InputError, match="another process works on the run"),
            claimed_run(folder, found),
        ):
            pass
    with claimed_run(folder, found) as continued:
        assert continued
    with pytest.raises(
        InputError, match="of which seed was 1, not 2; continue it with `maspo resume"
    ):
        claimed_run(folder, found | {"seed": "2"}).__enter__()
    with pytest.raises(InputError, match="of which the training problems changed;"):
        claimed_run(folder, found | {"the training problems": "b" * 64}).__enter__()
    with pytest.raises(InputError, match=r"of which torch was absent, not 2\.13"):
        claimed_run(folder, found | {"torch": "2.13"}).__enter__()


def test_only_a_run_to_be_continued_may_be_in_the_folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create()
    for name in ("evaluations", "unfinished.json.tmp"):  # killed as it began
        assert RunFolder.choose(str(folder.path), "x").path == folder.path, name
        (folder.path / "unfinished.json.tmp").touch()
    files.write_json(folder.path / "unfinished.json", {})
    assert RunFolder.choose(str(folder.path), "x", unfinished=True).path == folder.path
    with pytest.raises(InputError, match="already holds something"):
        RunFolder.choose(str(folder.path), "x")
    folder.finish()
    files.write_json(folder.path / "summary.json", {})
    with pytest.raises(
        InputError, match=r"is finished; `maspo resume .*run --rollouts \+40` extends"
    ):
        RunFolder.choose(str(folder.path), "x", unfinished=True)


# Whole runs, in processes of their own

SHORT = [
    "training.rollouts=4", "training.updates_per_rollout=2", "training.micro_batch=4",
    "training.save_every=1", "training.learning_rate=1e-3", "rollout.prompts=4", "rollout.samples=4",
    "data.limit=10", "evaluation.data.limit=6", "evaluation.samples=2", "evaluation.batch_size=4",
]  # fmt: skip
SET = [word for item in SHORT for word in ("--set", item)]
ENVIRONMENT = os.environ | {
    "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONPATH": str(REPOSITORY),
}  # fmt: skip


def test_killed_and_continued_a_run_ends_with_the_same_bits(tmp_path):
    words = ["--kills", "2", "--each", "2", "--moments", "rollout,checkpoint"]
    done = subprocess.run(
        [
            sys.executable, SCRIPTS / "kill_and_resume.py",
            "--work", tmp_path / "work", *words, *SET,
        ],
        capture_output=True, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["kills"] == 2 and last["differing"] == 0 and last["steps"] == 8


def begin(out, *more):
    return subprocess.Popen(
        [sys.executable, "-m", "maspo", "train", *SET, *more, "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip


def wait_for_steps(out, count, process):
    metrics = out / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= count):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.parametrize(("sent", "name"), [("SIGTERM", "SIGTERM"), ("SIGINT", "Ctrl-C")])
def test_a_signal_ends_the_run_with_a_checkpoint_and_one_line(tmp_path, sent, name):
    out, number = tmp_path / "out", getattr(signal, sent)
    process = begin(out, "--set", "training.rollouts=400", "--set", "training.save_every=400")
    wait_for_steps(out, 3, process)
    process.send_signal(number)
    shown, errors = process.communicate()
    assert process.returncode == 128 + number, shown + errors
    steps = len((out / "metrics.jsonl").read_text().splitlines())
    said = f"stopped by {name} after step {steps} of 800; go on with: maspo resume {out}"
    assert said in shown and f"folder     {out}" in shown and "Traceback" not in errors
    place = checkpoint.last_good(out / "checkpoints")
    assert place is not None and checkpoint.step_of(place) == steps


def test_a_run_with_another_recipe_is_not_continued(tmp_path):
    out = tmp_path / "out"
    process = begin(out)
    while not (out / "unfinished.json").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    other = begin(out, "--set", "training.rollouts=5")
    _, errors = other.communicate()
    assert other.returncode == 2 and "training.rollouts was 4, not 5" in errors
    assert f"`maspo resume {out} --rollouts 5`" in errors


def test_the_second_signal_ends_the_run_at_once(tmp_path):
    out = tmp_path / "out"
    process = begin(out, "--set", "rollout.max_completion_tokens=480")
    while not (out / "evaluations" / "before" / "scores.json").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert not (out / "summary.json").exists()  # and not because it was through
