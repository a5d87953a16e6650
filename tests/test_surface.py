"""What users may rely on: public names, light import, layers."""

import ast
import subprocess
import sys
from pathlib import Path

import maspo

PACKAGE = Path(maspo.__file__).parent
TOP = ["engines", "evaluation", "rewards", "data", "models"], ["lab", "cli"]


def test_public_names_exist_and_are_documented():
    for name in maspo.__all__:
        assert getattr(maspo, name).__doc__, name
    assert set(maspo.__all__) <= set(dir(maspo))


def test_import_costs_torch_and_little_else():
    program = "import maspo, sys; maspo.policy_loss; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in shown.stdout.split()}
    assert "torch" in loaded
    heavy = {"transformers", "trl", "datasets", "accelerate", "pydantic", "verl", "matplotlib"}
    assert not loaded & heavy


def modules_imported_by(file: Path):
    """Yield every module name that a file imports, at any depth of the code."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_arrows_between_layers_point_downwards():
    layer = {"core": 0, "objectives": 0, "loss": 0}
    layer |= {name: rank + 1 for rank, names in enumerate(TOP) for name in names}
    for file in PACKAGE.rglob("*.py"):
        part = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for module in modules_imported_by(file):
            if module.startswith("maspo.") and part in layer:
                other = module.split(".")[1]
                assert layer.get(other, 0) <= layer[part], f"{file} imports {module}"
            if module.partition(".")[0] in ("trl", "verl"):
                assert file.relative_to(PACKAGE).parts[:2] in (
                    ("engines", "trl"),
                    ("engines", "verl"),
                )


def test_no_code_asks_which_objective_it_has():
    names = set(maspo.OBJECTIVES)
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare):
                constants = {c.value for c in ast.walk(node) if isinstance(c, ast.Constant)}
                assert not constants & names, f"{file}:{node.lineno}"
