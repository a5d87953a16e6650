"""How commands end: one sentence for what is missing, for Ctrl-C at any moment, for each kind of error."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import maspo
from maspo import InputError
from maspo.cli import EXTRAS, _sentence, main
from maspo.errors import RunError

ROOT = str(Path(maspo.__file__).parents[1])
HIDDEN = """
import importlib.util
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {library!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

look = importlib.util.find_spec

def told_no(name, package=None):
    # Who only asks whether it is there gets None, as where it is not.
    return None if name.partition(".")[0] == {library!r} else look(name, package)

importlib.util.find_spec = told_no
sys.meta_path.insert(0, Hidden())
sys.argv = ["maspo", *{words!r}]
from maspo.cli import main
main()
"""


def without(library, *words, folder):
    """Run a command in a process in which a library is not installed."""
    environment = os.environ | {"PYTHONPATH": ROOT, "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    program = HIDDEN.format(library=library, words=words)
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=folder, env=environment
    )


COMMANDS = {
    "train": ["train", "--out", "out"],
    "eval": ["eval", "embedded", "--benchmarks", "own.jsonl"],
    "compare": ["compare", "--out", "out", "--seeds", "2", "--objectives", "grpo,sapo"],
    "doctor": ["doctor"],
}
NEEDED = [
    ("typer", "train"), ("trl", "train"), ("trl", "doctor"), ("matplotlib", "train"), ("scipy", "compare"),
    ("jinja2", "train"), ("transformers", "eval"), ("pydantic", "train"),
]  # fmt: skip


@pytest.mark.parametrize(("library", "command"), NEEDED)
def test_a_missing_library_is_one_sentence_with_its_extra(tmp_path, library, command):
    (tmp_path / "own.jsonl").write_text('{"problem": "1+1", "answer": "2"}\n')
    done = without(library, *COMMANDS[command], folder=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("maspo: ") and f"pip install 'maspo[{EXTRAS[library]}]'" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("library", "words"),
    [("trl", ["objectives"]), ("trl", ["recipes"]), ("matplotlib", ["plan"]), ("scipy", ["plan"])],
)
def test_commands_run_without_what_they_do_not_need(tmp_path, library, words):
    done = without(library, *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr


INTERRUPTED = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.argv = ["maspo", *{words!r}]
from maspo.cli import main
main()
"""


@pytest.mark.parametrize(
    "module", ["maspo.cli.app", "typer", "torch", "transformers", "maspo.lab.run.run"]
)
def test_ctrl_c_while_modules_are_imported_is_one_line(tmp_path, module):
    environment = os.environ | {"PYTHONPATH": ROOT, "HF_HUB_OFFLINE": "1"}
    program = INTERRUPTED.format(module=module, words=["train", "--out", "out"])
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr.strip() == "maspo: stopped by Ctrl-C"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (InputError("no such thing"), "no such thing", 2),
        (RunError("the disk is full"), "the disk is full", 1),
        (MemoryError(), "out of memory; lower training.micro_batch", 1),
        (
            ModuleNotFoundError("No module named 'trl.x'", name="trl.x"),
            "pip install 'maspo[trl]'",
            2,
        ),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error, said, code):
    text, found = _sentence(error)
    assert said in text and found == code


@pytest.mark.parametrize(
    "error", [ValueError("ours"), ModuleNotFoundError("maspo.x", name="maspo.x"), KeyError("x")]
)
def test_a_fault_of_ours_stays_a_traceback(error):
    assert _sentence(error) is None


@pytest.mark.parametrize(("asked", "shown"), [("1", True), ("0", False), ("", False)])
def test_causes_are_shown_on_request(monkeypatch, capsys, asked, shown):
    monkeypatch.setenv("MASPO_DEBUG", asked)
    monkeypatch.setattr(sys, "argv", ["maspo", "plan", "nowhere.yaml"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.endswith("there is no recipe file nowhere.yaml\n")
    assert ("Traceback" in said) == shown
