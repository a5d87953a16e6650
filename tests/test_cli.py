"""The command line as a user meets it: separate processes, exit codes, one sentence."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import maspo
from maspo.lab.run.metrics import metric_of
from maspo.models import EMBEDDED

TINY = [
    "training.rollouts=2", "training.updates_per_rollout=2", "training.micro_batch=8",
    "rollout.prompts=4", "rollout.samples=4", "evaluation.data.limit=6", "evaluation.samples=2",
]  # fmt: skip


def run(*words, folder):
    """Run `maspo` in a process of its own."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    environment["PYTHONPATH"] = str(Path(maspo.__file__).parents[1])
    command = [sys.executable, "-m", "maspo", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def settings(*items):
    """Spell `--set` once for each item."""
    return [word for item in items for word in ("--set", item)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Run a tiny recipe to its end."""
    folder = tmp_path_factory.mktemp("run")
    done = run("train", *settings(*TINY), "--out", "out", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out", done.stdout


def test_a_run_leaves_everything_it_promises(finished):
    out, shown = finished
    summary = json.loads((out / "summary.json").read_text())
    assert {"before", "after", "train_seconds", "objective", "updates_per_rollout"} <= set(summary)
    assert summary["updates_per_rollout"] == 2 and summary["steps"] == 4
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert {"reward", "entropy", "clip_ratio/region_mean", "outcome/correct"} <= set(lines[0])
    assert [key for key in lines[0] if metric_of(key) is None] == []
    for when in ("before", "after"):
        verdicts = (out / "evaluations" / when / "verdicts.jsonl").read_text().splitlines()
        assert len(verdicts) == 6 * 2
        right = sum(json.loads(line)["outcome"] == "correct" for line in verdicts)
        assert summary[when]["avg@2"] == pytest.approx(right / 12)
    assert list((out / "plots").glob("*.png")) and (out / "report.html").stat().st_size > 10_000
    assert json.loads((out / "provenance.json").read_text())["versions"]["maspo"]
    for word in ("avg@2", "pass@2", "before", "after", "report.html"):
        assert word in shown


def test_the_trained_model_is_an_ordinary_folder(finished):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out, _ = finished
    model = AutoModelForCausalLM.from_pretrained(out / "model")
    start = AutoModelForCausalLM.from_pretrained(EMBEDDED)
    assert AutoTokenizer.from_pretrained(out / "model").chat_template
    moved = [
        not torch.equal(p, q.to(p.dtype))
        for p, q in zip(model.parameters(), start.parameters(), strict=True)
    ]
    assert any(moved)


def test_the_written_recipe_can_be_planned_again(finished):
    out, _ = finished
    again = run("plan", out / "recipe.yaml", folder=out)
    assert "4 prompts x 4 samples = 16 completions" in again.stdout


def test_a_used_folder_is_refused(finished):
    out, _ = finished
    again = run("train", "--out", out, folder=out)
    assert again.returncode == 2 and f"the run in {out} is finished; " in again.stderr


def test_a_finished_run_is_extended(finished, tmp_path):
    import yaml

    out = shutil.copytree(finished[0], tmp_path / "out")
    *rows, last = (out / "metrics.jsonl").read_text().splitlines()
    rows.append(json.dumps(json.loads(last) | {"seconds": 1000.0}))
    before = "".join(f"{row}\n" for row in rows)
    (out / "metrics.jsonl").write_text(before)
    done = run("resume", out, "--rollouts", "+1", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "change     training.rollouts: 2 until now, 3 from here on" in done.stdout
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert (out / "metrics.jsonl").read_text().startswith(before)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["total_seconds"] > summary["train_seconds"] > 1000
    assert summary["steps"] == 6 and [e["rollouts"] for e in summary["evaluations"]] == [0, 2, 3]
    assert yaml.safe_load((out / "recipe.yaml").read_text())["training"]["rollouts"] == 3
    [change] = json.loads((out / "provenance.json").read_text())["changes"]
    assert change["settings"] == {"training.rollouts": [2, 3]}
    assert not (out / "unfinished.json").exists() and (out / "finished.json").exists()


def test_lora_is_trained_and_merged(tmp_path):
    done = run(
        "train", *settings(*TINY, "model.lora={rank: 2}", "training.learning_rate=1e-3"),
        "--out", "out", folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    names = {path.name for path in (tmp_path / "out" / "model").iterdir()}
    assert "model.safetensors" in names and "adapter_config.json" not in names


def on_two(launcher, *words, folder, **variables):
    """Run `maspo` in two processes over gloo on this machine; return what they printed."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    environment |= {"PYTHONPATH": str(Path(maspo.__file__).parents[1])} | variables
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "-m", "maspo", *map(str, words)],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


ON_TWO = [*TINY, "training.micro_batch=4"]


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Run it in two processes, as torchrun starts them, each with a whole copy of the model."""
    folder = tmp_path_factory.mktemp("together")
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = ["train", *settings(*ON_TWO), "--out", "out"]
    return folder / "out", on_two(torchrun, *words, folder=folder, ACCELERATE_USE_CPU="true")


def test_two_processes_train_together(together):
    out, shown = together
    summary = json.loads((out / "summary.json").read_text())
    assert summary["processes"] == 2 and summary["steps"] == 4
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 4
    for when in ("before", "after"):
        samples = out / "evaluations" / when / "samples.jsonl"
        assert len(samples.read_text().splitlines()) == 12
    assert shown.count("on each of 2 processes") == 1, "only the first process speaks"


FSDP2 = """\
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
mixed_precision: "no"
num_processes: 2
fsdp_config:
  fsdp_version: 2
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_state_dict_type: SHARDED_STATE_DICT
"""


def metrics(out):
    """Read the numbers of each line that do not depend on the clock."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    timed = re.compile("seconds|time|per_second")
    return [
        {k: v for k, v in one.items() if isinstance(v, int | float) and not timed.search(k)}
        for one in lines
    ]


def test_weights_dealt_out_by_fsdp2_train_as_whole_ones_do(together, tmp_path):
    """A rollout, and after a resume another, against two rollouts with a whole model in each process."""
    from safetensors.torch import load_file

    (tmp_path / "fsdp2.yaml").write_text(FSDP2)
    launch = ["accelerate.commands.launch", "--config_file", "fsdp2.yaml"]
    words = settings(*ON_TWO, "training.rollouts=1", "training.save_every=1")
    shown = on_two(launch, "train", *words, "--out", "out", folder=tmp_path)
    assert "Prompts are not shared under FSDP" in shown
    on_two(launch, "resume", "out", "--rollouts", "+1", folder=tmp_path)
    whole, dealt = together[0], tmp_path / "out"
    assert (dealt / "checkpoints" / "checkpoint-4" / "pytorch_model_fsdp_0").is_dir()
    for expected, found in zip(metrics(whole), metrics(dealt), strict=True):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-7)
    for when in ("before", "after"):
        files = (out / "evaluations" / when / "samples.jsonl" for out in (whole, dealt))
        texts = [
            {(s["problem_id"], s["index"]): s["text"] for s in map(json.loads, lines)}
            for lines in (file.read_text().splitlines() for file in files)
        ]
        assert texts[0] == texts[1] and len(texts[0]) == 12
    weights, its = (load_file(out / "model" / "model.safetensors") for out in (whole, dealt))
    assert weights.keys() == its.keys()
    for name, tensor in weights.items():
        assert (its[name] - tensor).abs().max() <= 1e-6
    changes = [
        json.loads((o / "summary.json").read_text())["weight_change"] for o in (whole, dealt)
    ]
    assert changes[1] == pytest.approx(changes[0], rel=1e-4)


BAD_DATA = {
    "empty.jsonl": "",
    "columns.jsonl": '{"problme": "1+1", "answer": "2"}\n',
    "type.jsonl": '{"problem": "1+1", "answer": ["2"]}\n',
}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["objective.name=mapso"], "did you mean 'maspo'"),
        (["objective.sigma_base=-1"], "must be > 0"),
        (["objective.alpha=1.2"], "must be 0 to 1"),
        (["rollout.samples=1"], "rollout.samples"),
        (["rollout.prompts=15"], "does not divide"),
        (["trl.lerning_rate=1"], "did you mean 'learning_rate'"),
        (["trl.learning_rate=1"], "decided by training.learning_rate"),
        (["data.source=columns.jsonl", "data.limit=1"], "problme"),
        (["data.source=empty.jsonl"], "empty"),
        (["data.source=type.jsonl"], "answer"),
        (["data.source=absent.jsonl"], "absent.jsonl"),
        (["model.source=./nowhere"], "unknown model './nowhere'"),
        (["model.source=nothing.gguf"], "no GGUF file"),
        (["data.limit=2"], "only 2 problems"),
    ],
)
def test_bad_input_gets_one_sentence_and_exit_code_2(command, tmp_path, words, message):
    for name, text in BAD_DATA.items():
        (tmp_path / name).write_text(text)
    done = command("train", *settings(*words), "--out", "out", folder=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr and done.stderr.startswith("maspo: ")
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_strict_refuses_an_inert_run(command, tmp_path):
    words = settings("training.updates_per_rollout=1")
    done = command("train", *words, "--strict", "--out", "out", folder=tmp_path)
    assert done.returncode == 2 and "no gate acts" in done.stderr
    assert not (tmp_path / "out").exists()


def test_objectives_are_listed_and_shown(tmp_path):
    listed = run("objectives", folder=tmp_path).stdout
    for name, kind in maspo.OBJECTIVES.items():
        assert name in listed and kind.arxiv in listed
    assert len(listed.splitlines()) == len(maspo.OBJECTIVES)
    assert "exp(-(ρ - 1)² / 2σ²)" in run("objectives", "--equations", folder=tmp_path).stdout
    shown = run("objectives", "maspo", folder=tmp_path).stdout
    assert "sigma_base" in shown and "exp(-(ρ - 1)² / 2σ²)" in shown
    assert "advantages group, reduction token-mean" in shown
    preset = run("objectives", "dr_grpo", folder=tmp_path).stdout
    assert "advantages center, reduction seq-mean-token-sum-norm" in preset
    wrong = run("objectives", "mapso", folder=tmp_path)
    assert wrong.returncode == 2 and "did you mean 'maspo'" in wrong.stderr


def test_the_doctor_proves_which_objective_is_live(tmp_path):
    done = run("doctor", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["healthy"] and found["versions"]["maspo"] == maspo.__version__
    assert [one["objective"] for one in found["weights"]] == ["MASPO", "GRPO"]
    # By hand: σ = 0.3^-0.3, widened by 1.03 and narrowed by it; weights ρ exp(-(ρ-1)²/2σ²).
    assert found["weights"][0]["by_engine"] == pytest.approx([1.5909, 0.3646], abs=5e-5)
    assert "MASPO" in done.stderr and "1.5909, 0.3646: as its formula" in done.stderr
    assert "GRPO" in done.stderr and "0.0000, 0.0000: as its formula" in done.stderr
