"""Scripts of this folder and commands of the package, run in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

from verl_support.environment import ENVIRONMENT

SUPPORT = Path(__file__).parent


def surroundings(**variables):
    """Return the environment of a process that finds this folder."""
    path = os.pathsep.join([str(SUPPORT.parent), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path} | variables


def maspo(*words):
    return [sys.executable, "-m", "maspo", *map(str, words)]


def done(words, log, patience=500):
    """Run a command of the package to its end, on CPUs, and return the exit code."""
    with log.open("w") as file:
        return subprocess.run(
            words, env=surroundings(**ENVIRONMENT), stdout=file, stderr=file, timeout=patience,
            check=False,
        ).returncode  # fmt: skip


def run(script, *arguments, limit):
    """Run a script of `verl_support`; its output is shown where it fails."""
    done = subprocess.run(
        [sys.executable, str(SUPPORT / script), *map(str, arguments)],
        env=surroundings(), capture_output=True, text=True, timeout=limit, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout
