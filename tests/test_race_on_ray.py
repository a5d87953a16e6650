"""Races on a Ray cluster: what travels, what comes back, and what cannot be used."""

import json
import sys

import pytest
from races import begun, plan
from test_cli import TINY, settings

from maspo.cli.app import app
from maspo.errors import InputError
from maspo.lab.provenance import provenance
from maspo.lab.race.folder import RaceFolder
from maspo.lab.race.on_ray import TrialTask, carry_out, pack, unpack
from maspo.lab.race.plan import recipe_text


def command(*words):
    """Run the command line in this process."""
    app(list(map(str, words)), standalone_mode=False)


def asked(tmp_path, *overrides, **changes):
    planned = plan("grpo", settings=overrides)
    [trial, *_] = planned.trials()
    given = {
        "name": trial.name, "recipe": recipe_text(planned, trial), "parcel": pack(tmp_path / "none"),
        "words": [], "threads": 1, "directory": str(tmp_path),
        "versions": provenance(0)["versions"],
    }  # fmt: skip
    return TrialTask(**given | changes)


def test_a_folder_travels_without_its_weights(tmp_path):
    for name in ("evaluations/before/scores.json", "model/weights", "metrics.jsonl"):
        file = tmp_path / "run" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    unpack(pack(tmp_path / "run", {"model"}), tmp_path / "there")
    found = {str(f.relative_to(tmp_path / "there")) for f in (tmp_path / "there").rglob("*.*")}
    assert found == {"evaluations/before/scores.json", "metrics.jsonl"}
    assert (tmp_path / "there" / "metrics.jsonl").read_text() == "metrics.jsonl"
    unpack(pack(tmp_path / "none"), tmp_path / "empty")
    assert [*(tmp_path / "empty").iterdir()] == []


def test_a_machine_with_another_version_carries_nothing_out(tmp_path):
    began = provenance(0)["versions"] | {"torch": "1.0"}
    result = carry_out(asked(tmp_path, versions=began))
    assert result.code == 2
    assert b"maspo: the race was begun with torch 1.0, and" in result.said


def test_a_run_that_fails_there_cannot_be_gone_on_with_here(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    (tmp_path / "run").mkdir()
    for name in ("unfinished.json", "metrics.jsonl"):
        (tmp_path / "run" / name).write_text("{}")
    result = carry_out(asked(tmp_path, parcel=pack(tmp_path / "run")))
    assert result.code == 1
    unpack(result.parcel, tmp_path / "back")
    assert [file.name for file in (tmp_path / "back").iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ray", "auto", "--gpus-per-run", 1.5], "must be 0, a part of 1 or a whole number"),
        (["--gpus-per-run", 1], "--gpus-per-run is for --ray"),
    ],
)
def test_bad_options_get_one_sentence_and_leave_no_folder(tmp_path, words, said):
    with pytest.raises(InputError, match=said):
        command("compare", *words, "--out", tmp_path / "race")
    assert not (tmp_path / "race").exists()


def test_without_ray_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"--ray needs a package: pip install 'maspo\[ray\]'"):
        command("compare", "--ray", "auto", "--out", tmp_path / "race")
    assert not (tmp_path / "race").exists()


def test_a_dead_address_is_one_sentence_at_once(tmp_path):
    pytest.importorskip("ray", reason="Ray is an extra")
    with pytest.raises(InputError, match=r"no Ray cluster answers at 127\.0\.0\.1:9: .*refused"):
        command("compare", "--ray", "127.0.0.1:9", "--out", tmp_path / "race")
    assert not (tmp_path / "race").exists()


def test_a_race_on_a_cluster_needs_no_shared_folder(tmp_path, monkeypatch, capsys):
    """Its problems are named by a relative path; its runs are carried out elsewhere and come back."""
    pytest.importorskip("ray", reason="Ray is an extra")
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"{n}+{n}", "answer": str(2 * n)} for n in range(1, 17)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["--objectives", "grpo,maspo", "--seeds", 1, "--ray", "local", "--out", "race"]
    words += settings(
        *TINY,
        "data.source=sums.jsonl",
        "evaluation.data.source=sums.jsonl",
        "evaluation.data.split=null",
    )
    with pytest.raises(InputError, match=r"0 GPUs, where a run asks .* --gpus-per-run 0 trains on"):
        command("compare", *words)
    assert not (tmp_path / "race").exists()
    command("compare", *words, "--gpus-per-run", 0)
    shown = capsys.readouterr().out
    assert "1 thread each and 0 GPUs, on the Ray cluster at local" in shown and "2/2" in shown
    trials = sorted((tmp_path / "race" / "trials").iterdir())
    assert len(trials) == 2 and (tmp_path / "race" / "report.html").exists()
    for trial in trials:
        assert {"summary.json", "metrics.jsonl", "evaluations", "report.html"} <= {
            part.name for part in trial.iterdir()
        }
        assert not (trial / "model").exists()
    rewards = [json.loads((t / "metrics.jsonl").read_text().splitlines()[0]) for t in trials]
    assert rewards[0]["reward"] == rewards[1]["reward"], "both began alike"


def test_a_race_that_goes_on_on_a_cluster_keeps_its_threads(tmp_path):
    assert RaceFolder(tmp_path / "race").threads(9) == 9
    assert begun(tmp_path / "race", plan()).threads(9) == 1
