"""A setting of verl, with what decides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class VerlSetting:
    """A setting of verl; what decides it is a key of the recipe or an option of the command."""

    value: Any
    by: str | None = None
    """None: nothing of ours leads to it, and the section `verl` may replace it."""


VerlSettings = dict[str, VerlSetting]
