"""Scripts of this folder, run in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

SUPPORT = Path(__file__).parent


def run(script, *arguments, limit):
    """Run a script of `verl_support`; its output is shown where it fails."""
    path = os.pathsep.join([str(SUPPORT.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(SUPPORT / script), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=limit,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout
