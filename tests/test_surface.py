"""What users may rely on: public names, light import; and the rules of the architecture."""

import ast
import shutil
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import architecture
import pytest

import maspo

PACKAGE = Path(maspo.__file__).parent


def test_public_names_exist_and_are_documented():
    for name in maspo.__all__:
        assert getattr(maspo, name).__doc__, name
    assert set(maspo.__all__) <= set(dir(maspo))


def test_every_objective_is_public_in_both_places():
    import maspo.objectives

    kinds = {kind.__name__: kind for kind in maspo.objectives.BUILT_IN.values()}
    for name, kind in kinds.items():
        assert getattr(maspo, name) is getattr(maspo.objectives, name) is kind
    assert set(maspo.objectives.__all__) == {*kinds, "OBJECTIVES", "make_objective"}
    elsewhere = {name for names in maspo._HOMES.values() for name in names}
    assert set(maspo.__all__) == elsewhere | set(maspo.objectives.__all__)
    read = ast.parse(Path(maspo.__file__).read_text())
    checked = next(node for node in ast.walk(read) if isinstance(node, ast.If))
    imported = {alias.name for node in checked.body for alias in node.names}
    assert imported == elsewhere | {"*"}  # what type checkers see; * is what `__all__` lists


def test_import_costs_torch_and_little_else():
    program = "import maspo, sys; maspo.policy_loss; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in shown.stdout.split()}
    assert "torch" in loaded
    heavy = {"transformers", "trl", "datasets", "accelerate", "pydantic", "verl", "matplotlib"}
    assert not loaded & heavy


RULES = (architecture.arrows, architecture.circles, architecture.shadows, architecture.homonyms)


def broken(package: Path):
    """Yield what breaks a rule of the architecture."""
    for rule in RULES:
        yield from rule(package)
    classes = {kind.__name__ for kind in maspo.OBJECTIVES.values()}
    yield from architecture.asks(package, set(maspo.OBJECTIVES), classes)


def test_the_package_keeps_the_rules_of_its_architecture():
    assert not list(broken(PACKAGE))


def test_siblings_may_know_each_other_in_one_direction_alone():
    tuple(TopologicalSorter(architecture.SIBLINGS).static_order())
    assert set(architecture.SIBLINGS) < set(architecture.FLOORS[5])


PLANTED = {
    "core imports a framework": ("core/kl.py", "import transformers", "core may not"),
    "core imports the data": ("core/kl.py", "from maspo.data import Problem", "may not know data"),
    "inside a function": ("core/kl.py", "def f():\n    import trl", "core may not"),
    "by a relative name": ("core/kl.py", "from ..recipes import load", "may not know recipes"),
    "by a string": (
        "objectives/grpo.py",
        "from importlib import import_module\nimport_module('maspo.sampling')",
        "may not know sampling",
    ),
    "for types alone": (
        "recipes/plan.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from maspo.lab import page",
        "recipes may not know lab",
    ),
    "from the top": ("loss.py", "from maspo import MASPOConfig", "from the module where it lives"),
    "the command line from the lab": ("lab/page.py", "import maspo.cli.app", "may not know cli"),
    "a stranger beside it": ("models/load.py", "import maspo.engines", "may not know engines"),
    "against a sibling's arrow": ("data/problems.py", "import maspo.sampling", "may not know"),
    "an unknown part": ("extra/thing.py", "", "extra has no floor"),
    "an unknown module": ("extra.py", "", "extra has no floor"),
    "TRL in the lab": ("lab/page.py", "from trl import GRPOTrainer", "a place of its own"),
    "TRL in the engine of verl": ("engines/verl/names.py", "import trl.models", "of its own"),
    "a new sampler's library": ("sampling/text.py", "from vllm import LLM", "of its own"),
    "a circle": ("core/gates.py", "from maspo.core import objective", "maspo.core.objective ->"),
    "a standard name": ("lab/statistics.py", "", "shadows the standard library's statistics"),
    "a standard name of a folder": ("data/json/__init__.py", "", "standard library's json"),
    "a function of another's name": (
        "data/overlap.py",
        "def policy_loss(x):\n    return x",
        "policy_loss is defined in data/overlap.py and in loss.py",
    ),
    "a class of another's name": ("loss.py", "class Verdict:\n    x = 1", "Verdict is defined in"),
    "a constant of another's name": ("loss.py", "SMALL: int = 1", "SMALL is defined in"),
    "in a branch": ("loss.py", "if True:\n    ENGINES = {}", "ENGINES is defined in"),
    "in a pair": ("loss.py", "a, KINDS = 1, 2", "KINDS is defined in"),
    "comparison": ("loss.py", "f = lambda o: o.name == 'grpo'", "asks for grpo"),
    "dictionary": ("loss.py", "RATES = {'sapo': 1.0}", "asks for sapo"),
    "look-up": ("loss.py", "f = lambda rates: rates['sapo']", "asks for sapo"),
    "look-up with a default": ("loss.py", "f = lambda r: r.get('sapo', 1)", "asks for sapo"),
    "match": (
        "loss.py",
        "def f(name):\n    match name:\n        case 'bapo' | 'dac':\n            return 1",
        "asks for bapo",
    ),
    "match by class": (
        "loss.py",
        "def f(o):\n    match o:\n        case MASPO():\n            return 1",
        "asks for MASPO",
    ),
    "beginning": ("loss.py", "f = lambda name: name.startswith('gspo')", "asks for gspo"),
    "list": ("loss.py", "SOFT = ['other', 'sapo']", "asks for sapo"),
    "list in a string": ("loss.py", "SOFT = 'gspo,maspo:alpha=0'", "asks for gspo, maspo"),
    "class": ("loss.py", "f = lambda o: isinstance(o, (int, GRPO))", "asks for GRPO"),
    "class of a module": ("loss.py", "f = lambda o: type(o) is maspo.GRPO", "asks for GRPO"),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the package, to plant violations in."""
    place = tmp_path_factory.mktemp("planted") / "maspo"
    return shutil.copytree(PACKAGE, place, ignore=shutil.ignore_patterns("__pycache__"))


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_violation_is_found(copy, planted):
    name, text, said = PLANTED[planted]
    file = copy / name
    before = file.read_text("utf-8") if file.exists() else None
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"{before or ''}\n{text}\n", "utf-8")
    try:
        assert any(said in line for line in broken(copy))
    finally:
        if before is None:
            file.unlink()
        else:
            file.write_text(before, "utf-8")
