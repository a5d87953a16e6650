"""The command line around the commands: help that is light, groups, JSON alone on stdout, wrapping."""

import io
import json
import subprocess
import sys

import pytest
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner

import maspo
from maspo.cli import terminal
from maspo.cli.app import app

HEAVY = {
    "torch",
    "transformers",
    "trl",
    "datasets",
    "numpy",
    "math_verify",
    "matplotlib",
}


def run(*words):
    return CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)


@pytest.mark.parametrize("words", ["-h", "train -h", "compare --help", "recipes -h", "--version"])
def test_help_imports_no_heavy_library(words):
    program = (
        f"import atexit, sys; from maspo.cli import main; sys.argv[1:] = {words!r}.split();"
        f"atexit.register(lambda: print('loaded', *sorted({HEAVY} & set(sys.modules)))); main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "loaded"


def test_the_version_is_said():
    assert run("--version").stdout == f"maspo {maspo.__version__}\n"


def test_every_command_stands_in_a_group():
    commands = get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    panels = {name: command.rich_help_panel for name, command in commands.items()}
    assert set(panels.values()) == {"Train", "Evaluate", "Compare", "Look"}
    assert panels["resume"] == panels["recipes"] == "Train" and panels["data"] == "Evaluate"
    shown = run("-h").stdout
    order = [shown.index(f" {panel} ─") for panel in ("Train", "Evaluate", "Compare", "Look")]
    assert order == sorted(order)


def test_a_plan_is_said_to_programs():
    done = run("plan", "--json", "--set", "training.updates_per_rollout=1")
    found = json.loads(done.stdout)
    assert found["recipe"]["training"]["updates_per_rollout"] == 1
    lines = {one["about"]: one["text"] for one in found["plan"]}
    assert (
        lines["rollout"].startswith("32 prompts x 8 samples") and "no gate acts" in lines["warning"]
    )
    assert "32 prompts x 8 samples" in done.stderr
    assert "32 prompts x 8 samples" in run("plan").stdout


def test_objectives_are_said_to_programs():
    found = json.loads(run("objectives", "--json").stdout)
    assert [one["name"] for one in found] == list(maspo.OBJECTIVES)
    [one] = json.loads(run("objectives", "maspo", "--json").stdout)
    assert one["arxiv"] == "2602.17550" and one["settings"]["sigma_base"]["default"] == 1.0
    with pytest.raises(maspo.InputError, match="did you mean 'maspo'"):
        run("objectives", "mapso", "--json")


def test_scores_are_said_to_programs(tmp_path):
    problems, out = tmp_path / "sums.jsonl", tmp_path / "out"
    problems.write_text('{"problem": "1+1", "answer": "2"}\n{"problem": "2+3", "answer": "5"}\n')
    words = ("--samples", 2, "--max-tokens", 4, "--workers", 1, "--json")
    drawn = json.loads(
        run("eval", "embedded", "--benchmarks", problems, *words, "--out", out).stdout
    )
    written = json.loads((out / "scores.json").read_text())
    assert drawn["folder"] == str(out) and drawn["benchmarks"] == written["benchmarks"]
    assert drawn["benchmarks"]["sums"]["problems"] == 2
    [scored] = json.loads(run("score", out, "--workers", 1, "--json").stdout)
    assert scored["benchmarks"] == drawn["benchmarks"]


def test_quiet_prints_nothing_but_json():
    assert run("-q", "recipes").stdout == ""
    assert json.loads(run("-q", "plan", "--json").stdout)["recipe"]["name"] == "quickstart"
    assert "quickstart" in run("recipes").stdout


def test_verbose_lets_the_frameworks_speak(monkeypatch):
    monkeypatch.setenv("MASPO_DEBUG", "0")
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    run("-v", "recipes")
    terminal.quiet()
    assert "TQDM_DISABLE" not in terminal.os.environ
    assert terminal.os.environ["MASPO_DEBUG"] == "1"


@pytest.mark.parametrize("width", [40, 80, 200])
def test_lines_break_at_words_and_a_plan_stays_in_its_column(monkeypatch, width):
    file = io.StringIO()
    monkeypatch.setattr(
        terminal, "console", Console(file=file, force_terminal=True, width=width, color_system=None)
    )
    words = "a gate of twelve-letter arXiv:2602.17550 words follows " * 5
    terminal.say(f"objective  {words}")
    lines = file.getvalue().rstrip("\n").split("\n")
    assert all(len(line) <= width for line in lines)
    assert " ".join(file.getvalue().split()) == " ".join(f"objective {words}".split())
    assert lines[0].startswith("objective  a") and all(line[:11].isspace() for line in lines[1:])
    file.truncate(0)


def test_lines_for_files_stay_whole(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(terminal, "console", Console(file=file, width=40))
    terminal.say("word " * 30)
    assert file.getvalue().count("\n") == 1
