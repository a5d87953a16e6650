"""A machine with several GPUs: one is used and said, or as many processes are started as are asked for."""

import os
import subprocess
import sys

import pytest
import torch

from maspo.cli import gpus
from maspo.errors import InputError


@pytest.fixture
def two(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")  # as put back afterwards
    return monkeypatch


def test_one_of_several_is_used_and_said(two, capsys):
    assert gpus.settle_gpus(None, ["train"]) is None
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    assert "GPU 3 of 2; --gpus 2 trains on all" in capsys.readouterr().out


def test_all_of_them_are_processes_of_one_launcher(two):
    command = gpus.settle_gpus(2, ["train", "quickstart", "--out", "a run"])
    assert command is not None and command[0] == sys.executable
    assert command[-5:] == ["maspo", "train", "quickstart", "--out", "a run"]
    assert "--nproc-per-node=2" in command and os.environ["CUDA_VISIBLE_DEVICES"] == "3,5"


@pytest.mark.parametrize("wanted", [0, 3])
def test_more_than_there_are_is_one_sentence(two, wanted):
    with pytest.raises(InputError, match=f"--gpus {wanted} cannot be: 2 are here"):
        gpus.settle_gpus(wanted, ["train"])


def test_a_machine_without_any_says_so(two):
    two.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InputError, match="--gpus 1 cannot be: there is no GPU here"):
        gpus.settle_gpus(1, ["train"])
    assert gpus.settle_gpus(None, ["train"]) is None


def test_under_a_launcher_nothing_is_started(two):
    two.setenv("WORLD_SIZE", "2")
    assert gpus.settle_gpus(None, ["train"]) is None
    with pytest.raises(InputError, match="a launcher has started them already"):
        gpus.settle_gpus(2, ["train"])


def test_the_launcher_starts_the_command_in_each_process():
    done = subprocess.run(gpus.launcher(2, ["--version"]), capture_output=True, text=True)
    assert done.stdout.count("maspo ") == 2, done.stderr
