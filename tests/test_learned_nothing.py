"""A run that learned nothing says so, in terminal, summary and report; a run that did, says nothing."""

import json
import re

import pytest
import torch
from test_cli import run, settings

from maspo.lab.run.charts import CHARTS, present
from maspo.lab.run.learning import complaints, outlook, stood_still, without_signal
from maspo.lab.run.movement import sample_weights, weight_change
from maspo.lab.run.text import gate_words

SMALL = [
    "training.rollouts=2", "training.updates_per_rollout=2", "training.micro_batch=8", "rollout.prompts=4",
    "rollout.samples=4", "evaluation.data.limit=4", "evaluation.samples=2",
]  # fmt: skip
NAN = float("nan")


def row(reward, no_signal, cut=0.0):
    return {"reward": reward, "frac_reward_zero_std": no_signal, "completions/clipped_ratio": cut}


BETWEEN = {"reward": None, "grad_norm": 0.0}  # a later update of a rollout logs no reward


def told(*rows, change=1e-3, rate=1e-5):
    return " ".join(complaints({"weight_change": change}, rows, limit=48, rate=rate))


def test_a_run_with_a_signal_in_one_group_has_nothing_to_complain_of():
    assert told(row(0.0, 1.0), BETWEEN, row(0.1, 0.9, 1.0)) == ""
    assert told() == ""
    assert told({"reward": NAN, "frac_reward_zero_std": NAN}) == ""


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(0.0, 1.0), BETWEEN, row(0.0, 1.0)], r"No completion earned a reward, so .*\\boxed"),
        (
            [row(0.0, 1.0, 1.0)],
            r"No completion earned .*100% .* cut off at 48 tokens.*raise rollout.max",
        ),
        ([row(1.0, 1.0), row(1.0, 1.0)], "Every completion earned the same reward, 1, .*harder"),
        (
            [row(0.5, 1.0), row(0.25, 1.0)],
            "In every group all completions earned the same .*samples",
        ),
        ([row(0.5, 0.5, 1.0)], "Every completion was cut off at 48 tokens, .*raise rollout.max"),
    ],
)
def test_each_cause_has_its_sentence(rows, said):
    assert re.search(said, told(*rows))


def test_weights_that_stand_still_are_told_with_the_learning_rate():
    text = told(row(0.5, 0.5), change=3e-11, rate=1e-12)
    assert "moved by no more than 3e-11 of their size" in text and "learning rate of 1e-12" in text
    assert "are what they were before training" in told(row(0.5, 0.5), change=0.0)
    both = told(row(0.0, 1.0), change=0.0)
    assert "No completion earned" in both and "are what they were" in both
    assert "learning rate" not in both
    assert told(row(0.5, 0.5), change=None) == ""


def test_the_gate_is_not_said_to_have_trained_anything_where_nothing_was_trained():
    still = {"maspo/gate_active": 0.0, **row(0.0, 1.0)}
    moved = {"maspo/gate_active": 0.0, **row(0.5, 0.5)}
    [text] = gate_words({"updates_per_rollout": 4, "weight_change": 0.1}, [moved])
    assert "plain policy gradient" in text
    for summary, rows in (({}, [still]), ({"weight_change": 1e-9}, [moved])):
        [text] = gate_words({"updates_per_rollout": 4, **summary}, rows)
        assert "plain policy gradient" not in text and "no" in text.split()


@pytest.mark.parametrize(
    ("score", "cut", "said"),
    [
        (
            0.0,
            0.96,
            "avg@4 is 0% before training (96% of the completions were cut off at 48 tokens): if",
        ),
        (0.0, 0.0, "avg@4 is 0% before training: if the training problems are as hard"),
        (1.0, 0.0, "avg@4 is 100% before training: if the training problems are as easy"),
    ],
)
def test_the_outlook_after_the_first_evaluation(score, cut, said):
    assert (outlook({"avg@4": score, "truncated": cut}, 48) or "").startswith(said)


@pytest.mark.parametrize("before", [{"avg@4": 0.01}, {"avg@4": 0.99}, {}])
def test_there_is_no_outlook_where_rewards_may_differ(before):
    assert outlook(before, 48) is None


def linear(value):
    made = torch.nn.Linear(60, 60, bias=False)
    torch.nn.init.constant_(made.weight, value)
    return made


def test_the_weight_change_is_the_norm_of_what_changed():
    before = sample_weights(linear(2.0))
    assert weight_change(before, linear(2.0)) == 0
    assert weight_change(before, linear(2.5)) == pytest.approx(0.25)
    assert weight_change(before, torch.nn.Linear(2, 2)) is None
    held = linear(2.0)
    kept = sample_weights(held)
    torch.nn.init.constant_(held.weight, 3.0)  # the sample is a copy
    assert weight_change(kept, held) == pytest.approx(0.5)
    assert stood_still({"weight_change": 9e-8}) and not stood_still({"weight_change": 2e-7})
    assert not stood_still({}) and not without_signal([])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["training.learning_rate=1e-12"], "a learning rate of 1e-12 is lost in rounding"),
        (
            ["rollout.max_completion_tokens=2"],
            "No completion earned a reward (100% of the completions",
        ),
    ],
)
def test_a_real_run_that_learns_nothing_says_so_everywhere(tmp_path, words, said):
    done = run("train", *settings(*SMALL, *words), "--out", "out", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert said in done.stdout
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert any(said in sentence for sentence in summary["warnings"])
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert said in page and "plain policy gradient" not in page
    assert "4 held-out problems x 2 samples" in done.stdout


def test_a_real_run_that_learns_has_no_warnings(tmp_path):
    done = run("train", *settings(*SMALL, "training.rollouts=4"), "--out", "out", folder=tmp_path)
    assert done.returncode == 0 and "warning" not in done.stdout
    lines = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    logged = {key for row in rows for key in row}
    drawn = {key for c in CHARTS for s in c.series for key in (s.metric, *(s.band or ()))}
    shown = [s for _, lines in present(rows) for s in lines]
    assert any(s.metric == "reward" for s in shown)
    assert not any(s.label == "accuracy" for s in shown)  # the one reward, which it would lie under
    assert drawn <= logged, "a chart draws what no run logs"
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["warnings"] == [] and summary["weight_change"] > 1e-5
