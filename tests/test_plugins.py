"""Objectives of other packages: found by the real importlib.metadata, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import maspo

TOY = '''
"""A toy."""
from dataclasses import dataclass

import torch

from maspo.core.objective import LogProbObjective
from maspo.core.settings import setting


@dataclass(frozen=True, kw_only=True)
class Halved(LogProbObjective):
    """Half of the plain policy gradient.

        J = h A log π

    Source: arXiv:0000.00000.
    """

    title = "Halved"
    arxiv = "0000.00000"
    radius = "none"
    h: float = setting(0.5, "h", "the weight of every token", low=0)

    def weight(self, batch):
        """Give h."""
        return torch.full_like(batch.log_probs, self.h)


number = 7
'''

USE = """
import torch, maspo
x = torch.zeros(1, 2, requires_grad=True)
loss = maspo.policy_loss(x, x.detach(), torch.tensor([3.0]), torch.ones(1, 2), objective="halved")
loss.loss.backward()
print(x.grad.tolist(), maspo.make_objective("halved", h=0.25))
"""


def install(folder: Path, package: str, points: dict[str, str]) -> None:
    """Lay a package out in `folder` as an installer does: a module and its metadata."""
    (folder / f"{package}.py").write_text(TOY)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {package}:{target}" for name, target in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[maspo.objectives]", *lines]) + "\n")


def run(folder, *words):
    """Run Python with `folder` on its path."""
    path = os.pathsep.join([str(folder), str(Path(maspo.__file__).parents[1])])
    environment = os.environ | {"PYTHONPATH": path, "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=environment, cwd=folder
    )


def test_a_plug_in_is_an_objective_like_any_other(tmp_path):
    install(tmp_path, "toy", {"halved": "Halved"})
    used = run(tmp_path, "-c", USE)
    assert used.stdout.startswith("[[-0.75, -0.75]] Halved("), used.stderr
    assert "h=0.25" in used.stdout
    listed = run(tmp_path, "-m", "maspo", "objectives")
    assert "halved" in listed.stdout and "arXiv:0000.00000" in listed.stdout, listed.stderr
    shown = run(tmp_path, "-m", "maspo", "objectives", "halved")
    assert "J = h A log π" in shown.stdout and "the weight of every token" in shown.stdout
    planned = run(tmp_path, "-m", "maspo", "plan", "--set", "objective.name=halved")
    assert "Halved(" in planned.stdout


@pytest.mark.parametrize(
    ("packages", "message"),
    [
        (
            {"toy": {"grpo": "Halved"}},
            "package toy offers an objective 'grpo', a name that maspo itself",
        ),
        (
            {"toy": {"halved": "Halved"}, "yot": {"halved": "Halved"}},
            "offers an objective 'halved', a name that package",
        ),
        ({"toy": {"seven": "number"}}, "toy:number of package toy must be a subclass of"),
        (
            {"toy": {"absent": "Nothing"}},
            "'absent' of package toy cannot be loaded: AttributeError",
        ),
    ],
)
def test_what_is_wrong_with_a_plug_in_is_said_in_one_sentence(tmp_path, packages, message):
    for package, points in packages.items():
        install(tmp_path, package, points)
    done = run(tmp_path, "-m", "maspo", "objectives")
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_plug_ins_are_not_loaded_before_a_name_is_looked_up(tmp_path):
    install(tmp_path, "toy", {"grpo": "Halved"})
    program = "import maspo, sys; maspo.GRPO(); maspo.OBJECTIVES; print('toy' in sys.modules)"
    assert run(tmp_path, "-c", program).stdout.strip() == "False"


def test_the_objectives_are_a_mapping():
    assert maspo.OBJECTIVES["grpo"] is maspo.GRPO and "mapso" not in maspo.OBJECTIVES
    assert len(maspo.OBJECTIVES) == len(list(maspo.OBJECTIVES)) == len(maspo.OBJECTIVES.values())
