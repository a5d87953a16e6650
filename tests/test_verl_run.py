"""Whole runs of verl without a GPU, by the commands that a person types; see `verl_support`.

The first one is killed and goes on; the second has two processes and what the first has not.
"""

import json
from pathlib import Path

import pytest

pytest.importorskip("verl", reason="verl is not installed")

from verl_support.calling import run

from maspo.evaluation.folder import EvaluationFolder


def told(out, name):
    return (out / f"{name}.log").read_text(errors="replace")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "a folder, with = and $"
    run("whole_run.py", out, limit=900)
    codes = json.loads((out / "codes.json").read_text())
    assert codes["train"] == 143, told(out, "train")[-4000:]
    for name in ("resume", "export", "eval", "report"):
        assert codes[name] == 0, told(out, name)[-4000:]
    return out, codes["rollouts before the kill"]


def test_a_killed_run_goes_on_to_its_end(whole):
    out, before = whole
    assert 1 <= before < 3
    assert "stopped by SIGTERM while it trained; go on with: maspo resume" in told(out, "train")
    assert f"going on after rollout {before} of 3" in told(out, "resume")
    lines = [json.loads(line) for line in (out / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert [line["seconds"] for line in lines] == sorted(line["seconds"] for line in lines)
    for line in lines:
        assert line["rollout_corr/log_ppl_abs_diff"] < 1e-4  # the weights reached the sampler
        assert 0 < line.get("maspo/gate_mean", 1) <= 1  # absent where no group had a signal
        assert None not in line.values()
        assert line["kl"] > 0  # of a reference model: the second update of a rollout has moved
        assert line["learning_rate"] == pytest.approx(1e-4)
    assert len({line["entropy"] for line in lines}) == 3


def test_its_folder_is_that_of_a_run(whole):
    run = whole[0] / "run"
    summary = json.loads((run / "summary.json").read_text())
    assert summary["steps"] == 6 and summary["before"]["problems"] == 8
    for side in ("before", "after"):
        scores = EvaluationFolder.of_run(run)[side].scores().benchmarks["arithmetic"]
        assert scores.metrics["avg@2"].value == summary[side]["avg@2"]
    said = [json.loads(line) for line in (run / "verl.jsonl").read_text().splitlines()]
    by_verl = said[-1]["data"]["val-core/arithmetic/acc/mean@2"]
    assert summary["after"]["avg@2"] == pytest.approx(by_verl)  # the same verifier, twice
    assert (run / "plots" / "reward.png").exists() and "<html" in (run / "report.html").read_text()
    assert (run / "finished.json").exists() and not (run / "unfinished.json").exists()
    assert not Path("outputs").exists()


def test_its_model_is_measured_beside_it(whole):
    out, _ = whole
    settings = EvaluationFolder.existing(out / "eval").settings()
    assert settings["model"] == str(out / "model")
    table = (out / "report" / "report.md").read_text()
    assert "eval" in table and "run after" in table
