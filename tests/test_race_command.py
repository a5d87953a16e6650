"""`maspo compare` as a user meets it: real runs, interrupted and gone on with, and what is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from inspect import signature
from pathlib import Path

import pytest
from test_cli import TINY, run, settings

import maspo
from maspo.cli.app import app
from maspo.cli.compare import ablate, compare
from maspo.errors import InputError

MASPO = "maspo:sigma_base=0.3,alpha=0"
SLUG = "maspo+sigma_base=0.3,alpha=0"
RACE = ["compare", "--objectives", f"grpo,{MASPO}", "--seeds", "2", "--parallel", "2"]
RACE += [*settings(*TINY, "training.save_every=1"), "--out", "race"]


def wait_for(condition, seconds=120):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


def finished(out):
    """Give the summaries of finished runs."""
    found = out.glob("trials/*/summary.json")
    return [path for path in found if not path.with_name("unfinished.json").exists()]


def processes_in(folder):
    """Processes whose command line names the folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder) in words:
            found.append(words)
    return found


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    """A race that was ended when its first run had finished, and then gone on with."""
    folder = tmp_path_factory.mktemp("compare")
    out = folder / "race"
    words = [str(out) if word == "race" else word for word in RACE]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(Path(maspo.__file__).parents[1])
    with (folder / "first.txt").open("w") as log:
        first = subprocess.Popen(
            [sys.executable, "-m", "maspo", *words],
            cwd=folder, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
        wait_for(lambda: finished(out) or first.poll() is not None)
        first.send_signal(signal.SIGTERM)
        code = first.wait(60)
    left = processes_in(out)
    before = {path: path.stat().st_mtime_ns for path in finished(out)}
    done = run(*words, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return {"out": out, "code": code, "left": left, "before": before, "shown": done.stdout,
            "words": words}  # fmt: skip


def test_a_race_that_is_ended_leaves_no_process_and_goes_on(raced):
    assert raced["code"] == 128 + signal.SIGTERM and raced["left"] == []
    assert 1 <= len(raced["before"]) < 4
    for path, changed in raced["before"].items():
        assert path.stat().st_mtime_ns == changed, "a finished run was done again"
    assert len(finished(raced["out"])) == 4


def test_it_says_what_it_does_and_concludes_nothing_from_two_seeds(raced):
    shown = raced["shown"]
    for words in (
        f"race       grpo, {MASPO}; grpo is the baseline",
        "proof      the recipes of one seed differ in objective alone",
        "for all    advantages group, reduction token-mean",
        "4/4",
        "nothing can be said from 2 seeds",
        "report.html",
    ):
        assert words in shown
    assert "did not begin alike" not in (raced["out"] / "report.md").read_text()


def metrics(folder):
    """Lines without times, which alone may differ."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "step_time")} for row in rows]


def test_a_cell_is_the_run_that_its_recipe_gives_by_itself(raced, tmp_path):
    """Though it took the evaluation before training from another run, to the last bit."""
    out, name = raced["out"], f"{SLUG}-u2-lr0.0001-seed2"
    done = run("train", out / "recipes" / f"{name}.yaml", "--out", "alone", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    trial, alone = out / "trials" / name, tmp_path / "alone"
    assert metrics(trial) == metrics(alone)
    for when in ("before", "after"):
        for name in ("samples", "verdicts"):
            part = f"evaluations/{when}/{name}.jsonl"
            assert (trial / part).read_bytes() == (alone / part).read_bytes()
    other = out / "trials" / "grpo-u2-lr0.0001-seed2"
    assert metrics(trial)[0]["reward"] == metrics(other)[0]["reward"]
    assert metrics(trial)[-1] != metrics(other)[-1], "the objective makes a difference"


def command(*words):
    """Run the command line in this process."""
    app(list(map(str, words)), standalone_mode=False)


def test_the_report_of_a_race_is_made_anew_as_far_as_it_has_come(raced, tmp_path, capsys):
    race = tmp_path / "race"
    shutil.copytree(
        raced["out"], race, ignore=shutil.ignore_patterns(f"{SLUG}-*-seed2", "report.*")
    )
    command("report", race)
    assert "nothing can be said from 1 seed" in capsys.readouterr().out
    assert "seed 2 was not run" in (race / "report.md").read_text()
    assert (race / "report.html").exists()
    with pytest.raises(InputError, match="a race, which is reported alone"):
        command("report", race, raced["out"])


def test_another_race_in_its_folder_is_refused(raced):
    words = ["5" if word == "2" else word for word in raced["words"]]
    with pytest.raises(InputError, match="holds another race, which differs in seeds"):
        command(*words)


def test_a_race_in_which_everything_fails_ends_at_once(tmp_path):
    words = ["compare", "--objectives", "grpo", "--seeds", "50", "--set", "model.source=./nowhere"]
    with pytest.raises(InputError, match="none finished: exit code 2: unknown model"):
        command(*words, "--out", tmp_path / "race")
    assert len(list((tmp_path / "race" / "logs").iterdir())) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--objectives", "grpo,mapso"], "did you mean 'maspo'"),
        (["--updates-per-rollout", "1,x"], "--updates-per-rollout takes numbers"),
        (["--tune", "fast"], "--tune takes numbers"),
        (["--parallel", "0"], "parallel must be at least 1"),
    ],
)
def test_bad_options_get_one_sentence_and_leave_no_folder(tmp_path, words, message):
    with pytest.raises(InputError, match=message):
        command("compare", *words, "--out", tmp_path / "race")
    assert not (tmp_path / "race").exists()


def test_an_ablation_has_the_options_of_a_comparison_but_for_the_objectives():
    found = {name: signature(kind) for name, kind in (("compare", compare), ("ablate", ablate))}
    theirs, ours = (list(found[name].parameters) for name in ("compare", "ablate"))
    assert [name for name in theirs if name != "objectives"] == ours and "objectives" in theirs
    with pytest.raises(InputError, match="--nodes is for --engine verl"):
        command("ablate", "--nodes", "2")


def test_an_ablation_names_its_parts(tmp_path, capsys):
    command("ablate", "--budget-minutes", "0", "--seeds", "1", "--out", tmp_path / "race")
    shown = capsys.readouterr().out
    for name in ("maspo_no_mass", "maspo_no_risk", "maspo_hard", "maspo:sigma_base=0.15"):
        assert name in shown
    assert "11 of 11 runs were not started" in shown


def test_a_tuning_that_was_cut_short_starts_no_race(tmp_path, capsys):
    words = ["--tune", "1e-5,1e-4", "--budget-minutes", "0", "--out", tmp_path / "race"]
    command("compare", "--objectives", "grpo,sapo", *words)
    shown = capsys.readouterr().out
    assert "8 runs of the tuning are left; the same command goes on" in shown
    assert not list((tmp_path / "race" / "trials").iterdir())
