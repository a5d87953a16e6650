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
    """As pip writes it: `>=1.16,<1.17`."""

    def check(self, installed: str | None = None) -> None:
        """Raise InputError where the framework is missing, or `installed` lies outside the window."""
        from packaging.specifiers import SpecifierSet

        if installed is None:
            try:
                installed = version(self.package)
            except PackageNotFoundError:
                raise InputError(
                    f"{self.title} is not installed; run: pip install 'maspo[{self.package}]'"
                ) from None
        if installed not in SpecifierSet(self.window):
            raise InputError(
                f"{self.title} {installed} is installed, but this version of maspo is tested with "
                f"{self.title} {self.window.removeprefix('==')} and relies on its internals; "
                f"run: pip install '{self.package}{self.window}'"
            )


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
