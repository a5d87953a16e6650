"""CONTRIBUTING lists the private names of other packages that we rely on: all, and no others."""

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
from trl.generation import vllm_generation  # noqa: E402
from trl.trainer import grpo_trainer  # noqa: E402

import maspo  # noqa: E402

REPOSITORY = Path(maspo.__file__).parents[1]
ENGINE = REPOSITORY / "maspo" / "engines" / "trl"
SAMPLING = [REPOSITORY / "maspo" / name for name in ("sampling", "models")]
CONTRIBUTING = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"


def theirs():
    """Collect the private attributes that TRL's and transformers' trainers set or define."""
    modules = grpo_trainer, vllm_generation, transformers.trainer, transformers.modeling_layers
    sources = "".join(map(inspect.getsource, modules))
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


INSIDE = ("verl", "ray", "math_verify", "latex2sympy2_extended")
"""Packages of which we take more than their top level has."""


def inside(source):
    """Collect module and name of what a file takes from below the top level of `INSIDE`."""
    tree, found, held = ast.parse(source), set(), {}
    for node in ast.walk(tree):
        module = node.module or "" if isinstance(node, ast.ImportFrom) and not node.level else ""
        if module.split(".")[0] in INSIDE:
            found |= {(module, alias.name) for alias in node.names}
            held |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        owner = node.value if isinstance(node, ast.Attribute) else None
        place = held.get(owner.id, "") if isinstance(owner, ast.Name) else ""
        if place.rpartition(".")[2].islower():  # a module, or a function, of which nothing is taken
            found.add((place, node.attr))
    return {(module, name) for module, name in found if "." in module}


def section():
    text = CONTRIBUTING.read_text("utf-8")
    whole = text.split("## Private names we rely on")[1].split("\n## ")[0]
    return whole.split("### Inside other packages")


def listed():
    return set(re.findall(r"`(_[a-z]\w*)`", section()[0]))


def listed_inside():
    found, module = set(), ""
    for word in re.findall(r"`([\w.]+)`", section()[1].partition("\n- ")[2]):
        if word.split(".")[0] in INSIDE:
            module = word
        else:
            found.add((module, word))
    return found


def test_the_list_of_private_names_is_whole():
    assert listed() == (used() & theirs()) | of_generation()


def test_the_list_of_what_lies_inside_other_packages_is_whole():
    files = (REPOSITORY / "maspo").rglob("*.py")
    assert listed_inside() == {pair for f in files for pair in inside(f.read_text("utf-8"))}


def test_names_from_inside_are_found():
    source = (
        "from verl.a import b as c\nfrom math_verify import parser\nc.d\nparser._e = 1\nimport verl"
    )
    assert inside(source) == {("verl.a", "b"), ("verl.a.b", "d"), ("math_verify.parser", "_e")}
