"""The processes that sample together, and which part of the work is whose."""

from __future__ import annotations

from typing import Any, Protocol

from maspo.sampling.interface import WHOLE, Part


class Processes(Protocol):
    """Processes that run the same program, each with the model."""

    @property
    def count(self) -> int:
        """How many they are."""
        ...

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        ...

    @property
    def part(self) -> Part:
        """The part of the work that this one does."""
        ...

    def share(self, value: Any) -> Any:
        """Return, in every process, the value that the first one has."""
        ...

    def gather(self, value: Any) -> list[Any]:
        """Return, in every process, the values of all, in their order."""
        ...

    def wait(self) -> None:
        """Wait until all processes are here."""
        ...


class OneProcess:
    """This process alone."""

    count = 1
    first = True
    part = WHOLE

    def share(self, value: Any) -> Any:
        """Return the value."""
        return value

    def gather(self, value: Any) -> list[Any]:
        """Return the value, in a list."""
        return [value]

    def wait(self) -> None:
        """Return at once."""


ONE = OneProcess()
