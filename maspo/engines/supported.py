"""The versions of a framework that an engine is tested with, and its own settings that we replace.

Part of what verl imports in every process, so it imports nothing but the errors.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from maspo.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Supported:
    """The window of a framework's versions that an engine is tested with."""

    title: str
    """As people write its name."""
    package: str
    """As pip writes it."""
    window: str
    """The versions that are taken, as pip writes it: `==0.9.1`."""
    tested: tuple[str, ...] = ()
    """Where the window is open above: its versions that the tests ran on. Others have to show at start that
    they do what is needed."""
    apart_from: str = ""
    """A package beside which it cannot be installed, if there is one."""

    def check(self, installed: str | None = None) -> None:
        """Raise InputError where the framework is missing, or `installed` lies outside the window."""
        from packaging.specifiers import SpecifierSet

        installed = self.installed() if installed is None else installed
        if not SpecifierSet(self.window).contains(installed, prereleases=bool(self.tested)):
            raise InputError(
                f"{self.title} {installed} is installed, but this version of maspo is tested with "
                f"{self.title} {self.said()} and relies on its internals; run: {self.cure()}"
            )

    def installed(self) -> str:
        """Return the version that is installed; InputError without one."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            raise InputError(f"{self.title} is not installed{self._way_in()}") from None

    def said(self) -> str:
        """Name the tested versions."""
        return ", ".join(self.tested) or self.window.removeprefix("==")

    def cure(self) -> str:
        """Return the command that installs the newest tested version."""
        wanted = f"=={self.tested[-1]}" if self.tested else self.window
        return f"pip install '{self.package}{wanted}'"

    def _way_in(self) -> str:
        """Say how it is installed where it is not."""
        line = f"pip install 'maspo[{self.package}]'"
        if not self.apart_from or not is_installed(self.apart_from):
            return f"; run: {line}"
        return (
            f" in this environment, which is that of {self.apart_from}, and the two ask for different "
            f"packages: take --engine {self.apart_from}, or another environment for {line}"
        )


def is_installed(package: str) -> bool:
    """Whether a package is installed, which is not imported for it."""
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def default_of(settings: type, name: str) -> Any:
    """Return the default of a field of a framework's dataclass of settings."""
    return next(field.default for field in fields(settings) if field.name == name)


def refuse_owned(supported: Supported, settings: Iterable[tuple[str, Any, Any]], cure: str) -> None:
    """Raise InputError for a setting of the framework's own losses that was changed.

    Args:
        supported: whose settings they are.
        settings: name, value, and the value where nothing was given, of each.
        cure: where its like is set, as `on the objective`.
    """
    for name, value, default in settings:
        if value != default:
            raise InputError(
                f"{name} belongs to {supported.title}'s own losses and would do nothing here; set it {cure}"
            )
