"""What a race says before it begins: its price, its power, and which GPU each run has."""

import json
import os
import re

import numpy as np
import pytest
import torch
from races import begun, plan, pretend_all
from scipy import stats
from typer.testing import CliRunner

from maspo.cli.app import app
from maspo.lab.race.devices import least_used, visible_gpus
from maspo.lab.race.folder import RaceFolder
from maspo.lab.race.inference import mean_estimate
from maspo.lab.race.price import power, price
from maspo.recipes import dump_recipe


def test_the_price_is_the_number_of_runs_until_one_was_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    planned = plan("grpo,sapo", seeds=3, rates=(1e-5, 1e-4), tuning_seeds=2)
    # 2 rates x 2 seeds x 2 objectives to tune, then 3 seeds x 2 objectives
    assert price(planned, RaceFolder(tmp_path / "race"), 1).startswith("14 runs; the time")
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text(dump_recipe(planned.recipe))
    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    (run / "provenance.json").write_text(json.dumps({"hardware": {"gpus": gpus}}))
    lines = [{"step": 1, "seconds": 1.0}, {"step": 5, "seconds": 10.0}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    # 4 steps are a rollout of 9 s, 80 rollouts are 12 min, and 7 of 14 runs follow each other
    said = price(planned, RaceFolder(tmp_path / "race"), 2)
    assert "14 runs, about 84 min: 12 min each" in said


def test_the_price_of_the_rest_is_by_what_is_done(tmp_path):
    planned = plan("grpo,sapo", seeds=2)
    folder = begun(tmp_path / "race", planned)
    pretend_all(folder, {"grpo": [0.5, 0.5], "sapo": [0.5, 0.5]})
    assert price(planned, folder, 1).startswith("0 of 4 runs, about 0 s")


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_power_is_that_of_drawn_t_tests(seeds):
    factor = float(re.search(r"difference of ([\d.]+) times", power(seeds))[1])
    drawn = np.random.default_rng(0).normal(factor, 1.0, size=(20_000, seeds))
    seen = stats.ttest_1samp(drawn, 0.0, axis=1).pvalue < 0.05
    assert seen.mean() == pytest.approx(0.8, abs=0.04)  # the factor is written with one digit


def test_two_seeds_can_show_nothing_and_have_no_interval():
    assert power(2) == "2 seeds can show no difference; take --seeds 3 or more"
    assert mean_estimate([0.1, 0.3]).low is None
    assert mean_estimate([0.1, 0.2, 0.3]).low is not None


def test_runs_at_once_have_a_gpu_each(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-1a")
    assert visible_gpus() == ["5", "GPU-1a"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_gpus() == ["0", "1"]
    assert least_used(["0", "1"], []) == "0"
    assert least_used(["0", "1"], ["0"]) == "1"
    assert least_used(["0", "1"], ["0", "1", "1"]) == "0"
    assert least_used([], []) is None


def test_a_dry_run_says_price_and_power_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["compare", "--objectives", "grpo,maspo", "--seeds", "2", "--dry-run", "--out", "race"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "4 runs" in lines["price"] and "can show no difference" in lines["power"]
    assert lines["warning:"] == "warning: below 3 seeds nothing can be said of a difference"
    assert done.stdout.count("checked ") == 2
    assert os.listdir(tmp_path) == []
