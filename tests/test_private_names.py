"""CONTRIBUTING lists the private names of TRL and transformers that we rely on: all, and no others."""

import ast
import inspect
import re
from pathlib import Path

import pytest

trl = pytest.importorskip("trl")

import transformers  # noqa: E402
from transformers import cache_utils  # noqa: E402
from transformers.generation import configuration_utils  # noqa: E402
from transformers.generation import utils as generation_utils  # noqa: E402
from trl.trainer import grpo_trainer  # noqa: E402

import maspo  # noqa: E402

REPOSITORY = Path(maspo.__file__).parents[1]
ENGINE = REPOSITORY / "maspo" / "engines" / "trl"
SAMPLING = [REPOSITORY / "maspo" / name for name in ("sampling", "models")]
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


def of_generation():
    """Collect the private attributes of generation's settings and caches in sampling and models."""
    source = "".join(map(inspect.getsource, (configuration_utils, generation_utils, cache_utils)))
    their_own = set(re.findall(r"\b(_[a-z]\w+)\b", source))
    found = set()
    for file in (file for folder in SAMPLING for file in folder.glob("*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        methods = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        ours = methods | {node.attr for node in attributes if isinstance(node.ctx, ast.Store)}
        keywords = {
            node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg
        }
        found |= ({node.attr for node in attributes} | keywords) & their_own - ours
    assert found
    return found


def listed():
    text = CONTRIBUTING.read_text("utf-8")
    section = text.split("## Private names we rely on")[1].split("\n## ")[0]
    return set(re.findall(r"`(_[a-z]\w*)`", section))


def test_the_list_of_private_names_is_whole():
    assert listed() == (used() & theirs()) | of_generation()
