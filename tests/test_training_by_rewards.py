"""Recipes with rewards of their own, trained end to end: a user's function, and code that is run."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from io import StringIO
from operator import itemgetter
from pathlib import Path

import pytest
from bigram import END, SAY, build, make_bigram
from rich.console import Console
from test_programs import written

import maspo
from maspo.data.programs import program_problems
from maspo.recipes import load_recipe

MINE = '''
"""Rewards of one's own."""


async def short(completions, target, **kwargs):
    """Less for longer answers; nothing to say where the target is even."""
    texts = [completion[-1]["content"] for completion in completions]
    return [None if t % 2 == 0 else 1 / (1 + len(x)) for x, t in zip(texts, target)]


def digits(completions, answer):
    """The share of digits."""
    return [sum(c.isdigit() for c in one[-1]["content"]) / 100 for one in completions]


def length(completions, **kwargs):
    return [len(one[-1]["content"]) for one in completions]


def broken(completions, **kwargs):
    raise ZeroDivisionError("no luck")


class Away(OSError):
    """As requests, httpx and urllib make their errors of the network."""


def away(completions, **kwargs):
    raise Away(111, "the judge is away")


def closed(completions, trainer_state, **kwargs):
    """Fails in training alone, with what the system also says of a file that cannot be written."""
    if trainer_state is not None:
        raise PermissionError(13, "the judge wants a key")
    return [0.0 for _ in completions]
'''
SMALL = [
    "training.rollouts=2", "training.updates_per_rollout=2", "training.micro_batch=8",
    "training.learning_rate=1e-2", "rollout.prompts=4", "rollout.samples=4",
    "rollout.max_completion_tokens=24", "evaluation.samples=2",
]  # fmt: skip


def recipe(folder, data, functions, **reward):
    """Write a recipe and its data beside `mine.py`, and return the recipe's path."""
    (folder / "mine.py").write_text(MINE)
    lines = "".join(json.dumps(row) + "\n" for row in data)
    (folder / "train.jsonl").write_text(lines)
    content = {
        "name": "own",
        "data": {"source": str(folder / "train.jsonl")},
        "evaluation": {"data": {"source": str(folder / "train.jsonl"), "limit": 4}},
        "reward": {"functions": functions, **reward},
    }
    (folder / "own.yaml").write_text(json.dumps(content))  # JSON is YAML
    return folder / "own.yaml"


SUMS = [{"problem": f"{n}+{n + 1}=", "answer": str(2 * n + 1), "target": n} for n in range(8)]
PRINT = [
    {"problem": f"print {n % 2 + 3}", "inputs": "", "outputs": str(n % 2 + 3)} for n in range(8)
]
CODE = [{"kind": "code", "time_limit": 30, "name": "runs"}]
FUNCTIONS = [
    {"source": "mine.py:short", "weight": 0.5},
    {"source": "mine.py:digits"},
    {"kind": "math", "weight": 2.0},
]


def command(*words):
    """Run the command line in a process of its own."""
    environment = {
        "HF_HUB_OFFLINE": "1", "COLUMNS": "200", "PYTHONPATH": str(Path(maspo.__file__).parents[1]),
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "maspo", *map(str, words)],
        capture_output=True, text=True, check=False, env=os.environ | environment,
    )  # fmt: skip


def train(path, *settings, out):
    """Train in this process; return the finished folder."""
    from maspo.engines.engine import ENGINES
    from maspo.lab.console import Screen
    from maspo.lab.run.folder import RunFolder
    from maspo.lab.run.run import run_recipe

    chosen = load_recipe(str(path), [*SMALL, *settings])
    screen = Screen(Console(file=StringIO()))
    return run_recipe(chosen, RunFolder(out), screen, ENGINES["trl"])


def lines_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


needs_trl = pytest.mark.skipif(find_spec("trl") is None, reason="trl is not installed")


@needs_trl
def test_functions_train_with_trl(tmp_path):
    run = train(recipe(tmp_path, SUMS, FUNCTIONS), out=tmp_path / "run")
    found = [row for row in lines_of(run / "metrics.jsonl") if "reward" in row]
    for row in found:
        short, digits, right = (
            row[f"rewards/{name}/mean"] for name in ("short", "digits", "accuracy")
        )
        assert 0 < digits <= 0.24  # at most 24 tokens, of a character each
        assert row["outcome/correct"] == right
        if short is not None:  # None, as JSON has it, where all targets of a rollout are even
            assert 0 < short <= 1
            assert digits + 2 * right < row["reward"] <= digits + 2 * right + 0.5 * short + 1e-6
    assert len(found) == 2 and any(row["rewards/short/mean"] for row in found)
    source = tmp_path / "mine.py"
    summary = json.loads((run / "summary.json").read_text())
    assert summary["rewards"][0] == f"short, weight 0.5 (function, {source}:short)"
    assert "digits, weight 1 (function" in (run / "report.html").read_text()
    assert f"{source}:short" in (run / "recipe.yaml").read_text()


@needs_trl
def test_code_trains_with_trl(tmp_path):
    model = make_bigram(tmp_path / "model")
    run = train(recipe(tmp_path, PRINT, CODE), f"model.source={model}", out=tmp_path / "run")
    rows = lines_of(run / "metrics.jsonl")
    found = [row for row in rows if "reward" in row]
    assert found
    for row in found:
        assert row["reward"] == row["rewards/runs/mean"] == row["outcome/correct"]
        assert row["outcome/correct"] + row["outcome/wrong"] == 1
    assert any(row["grad_norm"] > 0 for row in rows)


def inside(block):
    """Return what stands in a fenced block."""
    return block.removeprefix("```python\n").removesuffix("```")


@needs_trl
def test_the_recipe_of_code_trains_with_trl(tmp_path):
    """As it ships, but small, and with a model that writes the program of one problem or another."""
    problems = program_problems(8, seed=0, split="train")
    programs = sorted({inside(written(one.prompt[-1]["content"])) for one in problems})
    following = {SAY: ["```python\n"], "```python\n": programs, "```": [END]}
    following |= {program: ["```"] for program in programs}
    tokens = [END, SAY, "<unknown>", "```python\n", *programs, "```"]
    for part in build(tokens, following, "{{ messages[-1]['content'] }}{{ '<say>' }}"):
        part.save_pretrained(tmp_path / "model")
    words = ["reward.time_limit=30", "rollout.prompts=8", "data.limit=8", "evaluation.data.limit=4"]
    words.append(f"model.source={tmp_path / 'model'}")
    run = train("code", *words, out=tmp_path / "run")
    rows = lines_of(run / "metrics.jsonl")
    found = [row for row in rows if "reward" in row]
    for row in found:
        assert row["reward"] == row["outcome/correct"] == 1 - row["outcome/wrong"]
    assert any(0 < row["reward"] < 1 for row in found), "some programs are right, others wrong"
    assert any(row["grad_norm"] > 0 for row in rows)
    assert json.loads((run / "summary.json").read_text())["after"]["samples"] == 2


@needs_trl
def test_without_verdicts_the_threshold_counts_and_no_answers_are_needed(tmp_path):
    rows = [{"problem": row["problem"]} for row in SUMS]
    path = recipe(tmp_path, rows, [{"source": "mine.py:digits"}], threshold=0.13)
    run = train(path, "training.rollouts=1", out=tmp_path / "run")
    folder = run / "evaluations" / "before"
    place = itemgetter("problem_id", "index")
    texts = {place(row): row["text"] for row in lines_of(folder / "samples.jsonl")}
    verdicts = lines_of(folder / "verdicts.jsonl")
    assert len(verdicts) == len(texts) == 8
    for row in verdicts:
        count = sum(c.isdigit() for c in texts[place(row)])
        assert row["score"] == count / 100
        assert (row["outcome"] == "correct") is (count >= 13), row


@needs_trl
def test_a_function_that_breaks_is_named(tmp_path):
    path = recipe(tmp_path, SUMS, [{"source": "mine.py:broken"}])
    with pytest.raises(ZeroDivisionError, match="no luck") as caught:
        train(path, out=tmp_path / "run")
    assert caught.value.__notes__ == ["raised by the reward function broken"]


@needs_trl
@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("away", "Away: [Errno 111] the judge is away"),
        ("closed", "PermissionError: [Errno 13] the judge wants a key"),
    ],
)
def test_an_error_of_the_system_in_a_function_is_not_said_of_the_run_folder(tmp_path, name, last):
    path = recipe(tmp_path, SUMS, [{"source": f"mine.py:{name}"}])
    small = [word for setting in SMALL for word in ("--set", setting)]
    done = command("train", path, *small, "--out", tmp_path / "run")
    assert done.returncode == 1 and "cannot be written" not in done.stderr
    said = done.stderr.strip().splitlines()
    assert f"raised by the reward function {name}" in said
    assert any(line.endswith(last) for line in said)


@needs_trl
def test_the_command_says_what_it_imports_before_it_does(tmp_path):
    path = recipe(tmp_path, SUMS, [{"kind": "math"}, {"source": "mine.py:absent"}])
    done = command("train", path, "--out", tmp_path / "run")
    assert f"imports    {tmp_path}/mine.py:absent, when the run starts" in done.stdout
    assert done.returncode == 2 and "cannot be used: absent is not there in" in done.stderr
    assert not (tmp_path / "run").exists()
