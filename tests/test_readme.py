"""README is run: Python blocks whole, shell lines as far as that costs no training."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language):
    """List the fenced blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def shell_lines():
    """List the commands of the shell blocks."""
    lines = "\n".join(blocks("sh")).splitlines()
    return [part.strip() for line in lines for part in line.partition("#")[0].split("&&")]


def python(*words, folder):
    """Run Python on the package in this repository."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("block", blocks("python"))
def test_python_blocks_run(block, tmp_path):
    done = python("-c", block, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_pip_commands_name_what_exists():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    lines = [line for line in shell_lines() if line.startswith("pip install -c")]
    assert len(lines) == 2
    for line in lines:
        words = shlex.split(line)
        assert words[:4] == ["pip", "install", "-c", "constraints.txt"]
        assert words[4] in {f".[{extra}]" for extra in extras}
    assert (ROOT / "constraints.txt").exists()


def test_readme_is_short():
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)#]+)\)", README))
def test_links_into_the_repository_lead_somewhere(target):
    assert (ROOT / target).exists()
