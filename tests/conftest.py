"""What tests share."""

import os
from pathlib import Path

import pytest

# Before torch is imported: threads that wait must not take the cores of those that work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Give the folder of reference vectors and benchmarks that may lie beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("no folder `shared` with reference data beside the repository")
    return folder
