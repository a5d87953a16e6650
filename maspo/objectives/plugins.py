"""Objectives that other installed packages offer, found at the first look-up of a name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points

from maspo.core.advantages import ADVANTAGES
from maspo.core.objective import Objective
from maspo.core.reduction import REDUCTIONS
from maspo.errors import InputError

GROUP = "maspo.objectives"
"""The entry-point group: a name, and where the subclass of `Objective` is, as `module:Class`."""


class WithPlugins(Mapping[str, type[Objective]]):
    """The built-in objectives, and behind them those of installed packages.

    The first look-up loads every plug-in. Raises InputError where one takes a name that is already
    taken, cannot be loaded, or is no objective.
    """

    def __init__(self, built_in: Mapping[str, type[Objective]]) -> None:
        self._built_in = built_in

    @cached_property
    def _all(self) -> dict[str, type[Objective]]:
        found = dict(self._built_in)
        owners = dict.fromkeys(found, "maspo itself")
        for point in entry_points(group=GROUP):
            package = point.dist.name if point.dist else point.value
            if point.name in found:
                raise InputError(
                    f"package {package} offers an objective {point.name!r}, a name that "
                    f"{owners[point.name]} has already; uninstall it or have it renamed"
                )
            found[point.name] = load(point, package)
            owners[point.name] = f"package {package}"
        return found

    def __getitem__(self, name: str) -> type[Objective]:
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


def load(point: EntryPoint, package: str) -> type[Objective]:
    """Load one plug-in; InputError where that fails or gives anything but a sound objective."""
    try:
        kind = point.load()
    except Exception as error:
        raise InputError(
            f"objective {point.name!r} of package {package} cannot be loaded: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Objective)):
        raise InputError(
            f"{point.value} of package {package} must be a subclass of maspo.Objective, not {kind!r}"
        )
    for what, given, known in (
        ("advantages", kind.advantages, ADVANTAGES),
        ("reduction", kind.reduction, REDUCTIONS),
    ):
        if given is not None and given not in known:
            raise InputError(
                f"{point.value} of package {package} has {what} {given!r}, which must be none or one of "
                f"{', '.join(known)}"
            )
    return kind
