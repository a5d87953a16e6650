"""Change the formulas one operator or constant at a time, and see whether the tests notice.

    python scripts/mutate.py [--jobs 2] [--only maspo/objectives/maspo.py]

Every comparison is turned round, every sign and operator swapped, every constant moved (defaults
too; not the limits that inputs are checked against), one at a time, in a copy of the package; then
the tests of the objectives run on the copy. A mutant that all tests pass is printed, unless
`docs/mutants.json` lists it with the reason why it changes nothing. Exit code 1 if any other is
left. The result of each file is written to docs/mutants.json. Needs fork, as on Linux.
"""

from __future__ import annotations

import argparse
import ast
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEDGER = ROOT / "docs" / "mutants.json"
MATTERS = (
    "select", "batch", "gates", "objective", "reduction", "advantages", "kl", "rollout", "draw",
)  # fmt: skip
TESTS = (
    "test_select.py", "test_objectives.py", "test_sequence_objectives.py", "test_batch_objectives.py",
    "test_reduction.py", "test_advantages.py", "test_kl.py", "test_rollout.py", "test_golden.py",
    "test_sequence_golden.py", "test_weight_table.py",
    "test_limits.py", "test_extreme_inputs.py",
)  # fmt: skip

COMPARISONS = {
    ast.Lt: ast.Gt,
    ast.Gt: ast.Lt,
    ast.LtE: ast.GtE,
    ast.GtE: ast.LtE,
    ast.Eq: ast.NotEq,
}
COMPARISONS |= {ast.NotEq: ast.Eq}
OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
OPERATORS |= {ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd}


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change to one file."""

    file: str
    line: int
    statement: str
    before: str
    after: str
    source: str
    """The whole file, changed."""

    @property
    def key(self) -> str:
        """Name the change by what it does, not by its line, so that it survives edits elsewhere."""
        return f"{self.file}: {self.statement}: {self.before} -> {self.after}"


def mutants_of(file: Path) -> list[Mutant]:
    """List every mutant of a file."""
    tree = ast.parse(file.read_text("utf-8"))
    found = []
    for statement in (n for n in ast.walk(tree) if is_formula(n)):
        for node in inside(statement):
            for change in changes(node):
                before, told = ast.unparse(node), ast.unparse(statement).partition("\n")[0]
                undo = change()
                after, source = ast.unparse(node), ast.unparse(tree)
                undo()
                found.append(
                    Mutant(
                        file=str(file.relative_to(ROOT)),
                        line=node.lineno,
                        statement=told,
                        before=before,
                        after=after,
                        source=source,
                    )
                )
    return found


def is_formula(node: ast.AST) -> bool:
    """Tell the statements that hold expressions of their own from those that hold statements."""
    return isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Return | ast.If)


def inside(statement: ast.AST):
    """Yield the expressions of a statement, without annotations and without limits of settings."""
    match statement:
        case ast.If(test=test):
            roots = [test]
        case ast.AnnAssign(value=ast.Call(func=ast.Name(id="setting"), args=[default, *_])):
            roots = [default]
        case ast.Assign(value=value) | ast.AnnAssign(value=value) | ast.Return(value=value):
            roots = [value] if value else []
        case _:
            roots = [statement.value]  # type: ignore[attr-defined]
    for root in roots:
        yield from (node for node in ast.walk(root) if isinstance(node, ast.expr))


def unchanged(file: Path, source: str) -> Mutant:
    """Make the mutant that is none, to see that the tests pass at all."""
    return Mutant(
        file=str(file.relative_to(ROOT)), line=0, statement="", before="", after="", source=source
    )


def changes(node: ast.expr):
    """Yield functions that change a node in place and return the function that changes it back."""

    def swap(owner, field, new):
        def apply():
            old = getattr(owner, field)
            setattr(owner, field, new)
            return lambda: setattr(owner, field, old)

        return apply

    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARISONS:
            yield swap(node, "ops", [COMPARISONS[type(op)]()])
        case ast.BinOp(op=op) if type(op) in OPERATORS:
            yield swap(node, "op", OPERATORS[type(op)]())
        case ast.UnaryOp(op=ast.USub()) if not isinstance(node.operand, ast.Constant):
            yield swap(node, "op", ast.UAdd())
        case ast.UnaryOp(op=ast.Invert()):
            yield swap(node, "operand", ast.UnaryOp(ast.Invert(), node.operand))
        case ast.Constant(value=bool()):
            return
        case ast.Constant(value=int()):
            yield swap(node, "value", node.value + 1)
        case ast.Constant(value=float()):
            yield swap(node, "value", node.value * 1.25 or 0.1)


def survives(mutant: Mutant) -> bool:
    """Run the tests, in a forked process, on a copy of the package with the change."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "r"
        for name in ("maspo", "tests"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, work / name, ignore=ignored)
        if (ROOT.parent / "shared").is_dir():
            os.symlink(ROOT.parent / "shared", Path(folder) / "shared")
        (work / mutant.file).write_text(mutant.source, "utf-8")
        child = multiprocessing.get_context("fork").Process(target=run_tests, args=(work,))
        child.start()
        child.join(timeout=600)
        if child.is_alive():
            child.kill()
            return False
        return child.exitcode == 0


def run_tests(work: Path) -> None:
    """Run pytest on a copy and leave with its exit code."""
    import pytest

    os.chdir(work)
    sys.path[:0] = [str(work), str(work / "tests")]
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    tests = [f"tests/{name}" for name in TESTS if (work / "tests" / name).exists()]
    os._exit(int(pytest.main(["-qx", "-p", "no:cacheprovider", "-c", os.devnull, *tests])))


def main() -> int:
    """Run all mutants and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", action="append")
    options = parser.parse_args()
    files = [ROOT / "maspo" / "core" / f"{name}.py" for name in MATTERS]
    files += sorted((ROOT / "maspo" / "objectives").glob("[!_]*.py"))
    if options.only:
        files = [ROOT / name for name in options.only]
    mutants = [mutant for file in files for mutant in mutants_of(file)]
    ledger = json.loads(LEDGER.read_text()) if LEDGER.exists() else {}
    reasons = {entry["mutant"]: entry["reason"] for entry in ledger.get("equivalent", [])}
    print(f"{len(mutants)} mutants of {len(files)} files", flush=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    import hypothesis.extra.numpy
    import torch  # here, so that the forked processes need not

    torch.set_num_threads(1)
    assert hypothesis.extra.numpy and "maspo" not in sys.modules
    if not survives(unchanged(files[0], files[0].read_text("utf-8"))):
        print("the tests fail on the unchanged package; nothing can be learnt from mutants")
        return 2
    with ThreadPool(options.jobs) as pool:
        alive = pool.map(survives, mutants, chunksize=1)
    results: dict[str, dict] = ledger.get("files", {})
    for file in files:
        name = str(file.relative_to(ROOT))
        own = [(m, lives) for m, lives in zip(mutants, alive, strict=True) if m.file == name]
        left = [m for m, lives in own if lives and m.key not in reasons]
        for mutant in left:
            print(f"SURVIVED {name}:{mutant.line}: {mutant.before}  ->  {mutant.after}")
        results[name] = {
            "mutants": len(own),
            "killed": sum(not lives for _, lives in own),
            "unexplained": [m.key for m in left],
        }
    ledger = {"files": results, "equivalent": ledger.get("equivalent", [])}
    LEDGER.write_text(json.dumps(ledger, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return int(any(results[str(file.relative_to(ROOT))]["unexplained"] for file in files))


if __name__ == "__main__":
    sys.exit(main())
