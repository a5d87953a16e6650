"""CONTRIBUTING lists the private names of TRL and transformers that we rely on: all, and no others."""

import ast
import inspect
import re
from pathlib import Path

import pytest

trl = pytest.importorskip("trl")

import transformers  # noqa: E402
from trl.trainer import grpo_trainer  # noqa: E402

import maspo  # noqa: E402

REPOSITORY = Path(maspo.__file__).parents[1]
ENGINE = REPOSITORY / "maspo" / "engines" / "trl"
CONTRIBUTING = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"


def theirs():
    """Collect the private attributes that TRL's and transformers' trainers set or define."""
    sources = inspect.getsource(grpo_trainer) + inspect.getsource(transformers.trainer)
    return set(re.findall(r"self\.(_[a-z]\w*)", sources)) | set(vars(trl.GRPOTrainer))


def used():
    """Collect the private attributes and methods that stand in our engine."""
    found = set()
    for file in ENGINE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            name = getattr(node, "attr", None) or getattr(node, "name", None)
            if isinstance(name, str) and re.match(r"_[a-z]", name):
                found.add(name)
    return found


def listed():
    text = CONTRIBUTING.read_text("utf-8")
    section = text.split("## Private names we rely on")[1].split("\n## ")[0]
    return set(re.findall(r"`(_[a-z]\w*)`", section))


def test_the_list_of_private_names_is_whole():
    assert listed() == used() & theirs()
