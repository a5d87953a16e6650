"""Other trainers that take a loss of ours, each through the door that it documents.

Importing this imports no trainer and no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from maspo.errors import InputError

if TYPE_CHECKING:
    from maspo.core.objective import Objective


@dataclass(frozen=True, kw_only=True)
class Door:
    """What a host hands to a loss, and what its configuration has to name."""

    title: str
    """As people write the name of the host."""
    package: str
    """As `importlib.metadata` knows it."""
    module: str
    """What is imported of it."""
    place: str
    """What the host's configuration names."""
    tried: str
    """The versions that it was tried with."""
    hands: frozenset[str] = frozenset()
    """Which of the optional fields of TokenBatch the host hands over."""
    whole: bool = False
    """Whether one call sees all completions of an update."""

    def installed(self) -> str | None:
        """Return the version that is installed, `unknown` where it has none, and None without it."""
        try:
            if find_spec(self.module) is None:
                return None
            return version(self.package)
        except PackageNotFoundError:
            return "unknown"
        except ImportError:  # of what the module lies in
            return None

    def error(self, sentence: str) -> InputError:
        """Build an error whose sentence begins with the host."""
        return InputError(f"{self.title}: {sentence}")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Turn an import of the host that fails into an InputError that names the version."""
        try:
            yield
        except ImportError as error:
            found = self.installed()
            here = f"version {found} is installed" if found else "it is not installed"
            told = " ".join(str(error).split())
            raise self.error(
                f"{told}; {here}, and this was tried with {self.tried}: take that"
            ) from None

    def check(self, objective: Objective) -> None:
        """Raise InputError where the host does not hand over what `objective` needs."""
        missing = [name for name in objective.inputs if name not in self.hands]
        if missing:
            raise self.error(
                f"{objective.title} needs {' and '.join(missing)}, which a loss is not handed there; "
                "take another objective, or train with TRL"
            )
        if objective.couples_batch and not self.whole:
            raise self.error(
                f"{objective.title} weighs tokens by their place among all completions of an update, "
                "and a loss sees a part of them there; take another objective, or train with TRL"
            )


PROBED = "sapo"
"""The objective whose weights two tokens are looked at for: its own for both, and proportional to A."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a door stands on this machine."""

    version: str | None
    """Of the host; None: not installed."""
    live: bool
    """Whether the host finds our loss and, where that can be seen, gives two tokens the right weights."""
    said: str
    """The same in words."""


def standing_of(name: str) -> Standing:
    """Look whether the host of a door is here, and whether it is live."""
    door = DOORS[name]
    installed = door.installed()
    if installed is None:
        return Standing(version=None, live=False, said="not installed")
    from torch import allclose

    from maspo.engines.two_tokens import weights_by_formula
    from maspo.objectives import make_objective

    try:
        found = import_module(f"maspo.engines.{name}").probe(PROBED)
    except Exception as error:  # whatever importing a trainer may end with
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return Standing(version=installed, live=False, said=f"not live: {why}")
    if found is None:
        return Standing(version=installed, live=True, said="live: the host finds it")
    same = allclose(found, weights_by_formula(make_objective(PROBED)), rtol=1e-6)
    told = "live: two tokens get" if same else f"NOT live: two tokens get {found.tolist()}, not"
    return Standing(version=installed, live=same, said=f"{told} the weights of the formula")


class _Doors(Mapping[str, Door]):
    """The doors by name; `maspo.engines.NAME` is imported when it is looked up."""

    NAMES = ("tinker", "prime_rl", "ms_swift", "axolotl", "skyrl", "trinity_rft", "rllm", "slime")

    def __getitem__(self, name: str) -> Door:
        if name not in self.NAMES:
            raise KeyError(name)
        return import_module(f"maspo.engines.{name}").DOOR

    def __iter__(self) -> Iterator[str]:
        return iter(self.NAMES)

    def __len__(self) -> int:
        return len(self.NAMES)


DOORS: Mapping[str, Door] = _Doors()
"""Every door by the name of its module in `maspo.engines`."""
