"""What tests share."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Before torch is imported: the models here are so small that a second thread costs more than it brings.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell without job control starts background commands deaf to Ctrl-C, and their children inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Give the folder of reference vectors and benchmarks that may lie beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("no folder `shared` with reference data beside the repository")
    return folder


@pytest.fixture
def command(monkeypatch, capsys):
    """Run `maspo` in this process, which has imported what another would import first."""
    from maspo.cli import main

    def run(*words, folder: Path) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setattr(sys, "argv", ["maspo", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        return subprocess.CompletedProcess(sys.argv, left.value.code or 0, *capsys.readouterr())

    return run
