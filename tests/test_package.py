"""What is handed out: the wheel holds the package and nothing else, the sdist all that a checkout has."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from test_cli import TINY, settings

import maspo

pytest.importorskip("hatchling", reason="builds wheel and sdist; the extra [test] has it")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build both, as pip and a maintainer do."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist"]
    done = subprocess.run([*command, "-d", str(out)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel], [sdist] = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


def files_under(name):
    """List the files of a folder of this checkout, what Python leaves behind aside."""
    found = (path for path in (ROOT / name).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in found if "__pycache__" not in path.parts}


def test_the_wheel_holds_the_package_and_nothing_else(built):
    with zipfile.ZipFile(built[0]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        facts = [name for name in wheel.namelist() if ".dist-info/" in name]
    assert names == files_under("maspo")
    for name in (
        "py.typed",
        "recipes/shipped/quickstart.yaml",
        "models/embedded/model.safetensors",
    ):
        assert f"maspo/{name}" in names
    assert any(name.endswith("licenses/LICENSE") for name in facts)


def test_the_wheel_says_what_it_is(built):
    with zipfile.ZipFile(built[0]) as wheel:
        [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        told = message_from_string(wheel.read(name).decode())
    assert (told["Name"], told["Version"]) == ("maspo", maspo.__version__)
    assert told["Requires-Python"] == ">=3.11" and told["License-Expression"] == "Apache-2.0"
    links = dict(link.split(", ") for link in told.get_all("Project-URL") or ())
    assert links["Paper"] == "https://arxiv.org/abs/2602.17550"
    kinds = told.get_all("Classifier") or ()
    assert "Typing :: Typed" in kinds and "Programming Language :: Python :: 3.11" in kinds
    bare = [one for one in told.get_all("Requires-Dist") or () if "extra ==" not in one]
    assert len(bare) == 1 and bare[0].startswith("torch")


def test_the_sdist_holds_what_tests_and_documents_need(built):
    with tarfile.open(built[1]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    for folder in ("maspo", "tests", "scripts", "benchmarks", "docs", ".ci"):
        assert files_under(folder) <= names, folder
    single = {
        path.name for path in ROOT.iterdir() if path.suffix in (".md", ".txt", ".cff", ".toml")
    }
    assert single | {"LICENSE"} <= names


def test_what_pip_makes_of_the_sdist_is_the_wheel_and_trains(built, tmp_path):
    """In a folder of its own, which comes before any other place of the package."""
    pytest.importorskip("pip")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    install += ["--no-build-isolation", "--target", str(tmp_path / "site"), str(built[1])]
    subprocess.run(install, check=True, capture_output=True)
    with zipfile.ZipFile(built[0]) as wheel:  # so that one training is that of both
        for name in (name for name in wheel.namelist() if name.startswith("maspo/")):
            assert wheel.read(name) == (tmp_path / "site" / name).read_bytes(), name
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-P", "-m", "maspo", "train", *settings(*TINY), "--out", "run"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    origin = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert origin["versions"]["maspo"] == maspo.__version__ and origin["commit"] is None
