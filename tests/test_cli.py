"""The command line as a user meets it: separate processes, exit codes, one sentence."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import maspo
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
    done = run("resume", out, "--rollouts", "+1", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "change     training.rollouts: 2 until now, 3 from here on" in done.stdout
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    before = (finished[0] / "metrics.jsonl").read_text()
    assert (out / "metrics.jsonl").read_text().startswith(before)
    summary = json.loads((out / "summary.json").read_text())
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


def test_two_processes_train_together(tmp_path):
    """Started as accelerate and torchrun do it, over gloo on this machine."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true"}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(maspo.__file__).parents[1])}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    torchrun += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "-m", "maspo", "train"]
    words = settings(*TINY, "training.micro_batch=4")
    done = subprocess.run(
        [*torchrun, *words, "--out", "out"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["processes"] == 2 and summary["steps"] == 4
    assert len((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()) == 4
    for when in ("before", "after"):
        samples = tmp_path / "out" / "evaluations" / when / "samples.jsonl"
        assert len(samples.read_text().splitlines()) == 12
    assert done.stdout.count("on each of 2 processes") == 1, "only the first process speaks"


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
