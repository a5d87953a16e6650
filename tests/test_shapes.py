"""The shapes in public signatures are those of every call."""

import subprocess
import sys
from pathlib import Path


def test_annotated_shapes_are_those_of_real_calls():
    program = Path(__file__).with_name("shapes.py")
    shown = subprocess.run([sys.executable, program], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr[-3000:]
    assert shown.stdout.splitlines() == [
        "right calls pass",
        "refused: a reduction of rows",
        "refused: a mask of numbers",
        "refused: slopes of another width",
        "refused: integers for weights",
        "refused: rewards in one row",
    ]
