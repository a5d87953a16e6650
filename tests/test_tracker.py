"""Trackers: what a run hands to one, and what lies in its folder."""

import importlib.util
import math
import os
import sys
from types import SimpleNamespace

import pytest

from maspo.errors import InputError
from maspo.evaluation.estimators import Estimate
from maspo.lab.run.evaluations import tracked
from maspo.lab.run.tracker import TRACKERS, check_tracker, numbers_of, place_files, tracking
from maspo.recipes import load_recipe

RECIPE = "quickstart", ["name=mine", "objective=grpo"]


def chosen(tracker):
    name, settings = RECIPE
    return load_recipe(name, [*settings, f"tracker={tracker}"])


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_not_installed_is_one_sentence(name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=f"tracker: {name} needs a package: pip install {name}"):
        check_tracker(chosen(name))


def test_only_finite_numbers_are_tracked():
    line = {"step": 3, "loss": 0.5, "kl": math.nan, "note": "x", "reward": 1, "absent": None}
    assert numbers_of(line) == {"loss": 0.5, "reward": 1.0}


def test_an_evaluation_is_tracked_with_its_interval():
    metrics = {
        "avg@8": Estimate(value=0.5, low=0.4, high=0.6),
        "pass@8": Estimate(value=1.0, low=None, high=None),
    }
    scores = SimpleNamespace(benchmarks={"arithmetic": SimpleNamespace(metrics=metrics)})
    assert tracked(scores) == {
        "evaluation/avg@8": 0.5,
        "evaluation/avg@8/low": 0.4,
        "evaluation/avg@8/high": 0.6,
        "evaluation/pass@8": 1.0,
    }


def test_without_a_tracker_and_beside_the_first_process_nothing_is_written(tmp_path):
    with tracking(load_recipe("quickstart"), tmp_path, 0, first=True) as tracker:
        tracker.log(1, {"loss": 0.1})
    with tracking(chosen("tensorboard"), tmp_path, 0, first=False) as tracker:
        tracker.log(1, {"loss": 0.1})
    assert list(tmp_path.iterdir()) == []


class Recorder:
    """Stands in for wandb and trackio, which agree in these calls."""

    def __init__(self):
        self.begun, self.lines = [], []

    def init(self, **given):
        self.begun.append(given)
        return self

    def log(self, values, step):
        self.lines.append((step, values))

    def finish(self):
        self.lines.append("finished")


@pytest.mark.skipif(
    bool(importlib.util.find_spec("wandb")), reason="the real ones are run in their own test"
)
@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_project_run_and_configuration_are_the_recipe_and_the_folder(name, tmp_path, monkeypatch):
    recorder = Recorder()
    monkeypatch.setitem(sys.modules, name, recorder)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("TRACKIO_DIR", "")  # as put back afterwards
    place_files(chosen("trackio"), tmp_path / "run-7")
    assert os.environ["TRACKIO_DIR"] == str(tmp_path / "run-7" / "trackio")
    folder = tmp_path / "run-7"
    for step in (0, 4):  # a run, and the same run that goes on
        with tracking(chosen(name), folder, step, first=True) as tracker:
            tracker.log(step + 1, {"loss": 0.5})
    first, second = recorder.begun
    assert first == second and first["resume"] == "allow"
    assert (first["project"], first["name"]) == ("mine", "run-7")
    assert first["config"]["objective"] == {"name": "grpo"}
    if name == "wandb":
        assert (first["id"], first["dir"], first["mode"]) == ("run-7", str(folder), "offline")
    assert recorder.lines == [(1, {"loss": 0.5}), "finished", (5, {"loss": 0.5}), "finished"]


@pytest.mark.skipif(not importlib.util.find_spec("tensorboard"), reason="needs tensorboard")
def test_tensorboard_shows_one_run_that_went_on(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for step, value in ((0, 0.5), (2, 0.7)):  # stopped after step 3, and resumed from step 2
        with tracking(chosen("tensorboard"), tmp_path, step, first=True) as tracker:
            for n in range(step + 1, step + 4):
                tracker.log(n, {"loss": value})
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [(one.step, round(one.value, 3)) for one in found.Scalars("loss")] == [
        (1, 0.5), (2, 0.5), (3, 0.7), (4, 0.7), (5, 0.7),
    ]  # fmt: skip
    [text] = found.Tensors("recipe/text_summary")
    assert "name: mine" in text.tensor_proto.string_val[0].decode()
