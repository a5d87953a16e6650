"""Inputs of the kinds that people report in public, and stock TRL beside our trainer: each exits 0."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"
if not CASES.is_dir():
    pytest.skip("the cases are not beside this repository", allow_module_level=True)


@pytest.mark.parametrize(
    "case", sorted(CASES.glob("field/*/run.sh")), ids=lambda case: case.parent.name
)
def test_an_input_from_the_field(case):
    done = subprocess.run(["sh", case], env={**os.environ, "PY": sys.executable}, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    "name", ["best_checkpoint", "call_signatures", "own_generate", "unscored_completion"]
)
def test_ours_beside_stock_trl(name):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", CASES / f"{name}.py"], cwd=CASES, check=False
    )
    assert done.returncode == 0
