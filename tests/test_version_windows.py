"""A framework's window of versions stands in the engine's `SUPPORTED`; every other place agrees with it."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from maspo.engines.trl.names import SUPPORTED as TRL
from maspo.engines.verl.names import SUPPORTED as VERL

ROOT = Path(__file__).resolve().parents[1]
ENGINES = pytest.mark.parametrize("supported", [TRL, VERL], ids=lambda one: one.package)


def version_words(text, title):
    """Collect the versions that stand behind a framework's name."""
    return re.findall(rf"\b{title}\]?(?:\([^)]*\))? ?(?:==)?(\d+\.\d+(?:\.\d+)?)", text)


@ENGINES
def test_the_extras_ask_for_the_window(supported):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [
        requirement.specifier
        for group in extras["optional-dependencies"].values()
        for requirement in map(Requirement, group)
        if requirement.name == supported.package
    ]
    assert asked
    assert all(specifier == SpecifierSet(supported.window) for specifier in asked)


@ENGINES
def test_what_ci_and_the_docs_name_lies_inside(supported):
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    ci = ROOT / ".ci" / "run"
    files += [ci] if ci.exists() else []
    named = {
        (file.name, found)
        for file in files
        for found in version_words(
            file.read_text("utf-8"), f"(?:{supported.title}|{supported.package})"
        )
    }
    assert named
    window = SpecifierSet(supported.window)
    assert [one for one in named if one[1] not in window] == []


def test_the_lowest_versions_are_those_that_the_extra_admits():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    bounds = {
        requirement.name.lower(): Version(one.version)
        for requirement in map(Requirement, extra["optional-dependencies"]["trl"])
        for one in requirement.specifier
        if one.operator == ">="
    }
    lines = (ROOT / "constraints-lowest.txt").read_text("utf-8").splitlines()
    named = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    tested = (ROOT / "constraints.txt").read_text("utf-8")
    assert f"torch=={named.pop('torch')}\n" in tested
    assert {name.lower(): Version(number) for name, number in named.items()} == bounds
