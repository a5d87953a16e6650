"""Hyperparameters that document and check themselves."""

from __future__ import annotations

import math
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any

from maspo.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is known of one hyperparameter besides its default."""

    symbol: str
    """As in the equation of the docstring."""
    doc: str
    """Meaning, unit, and what the neutral value does."""
    low: float = -math.inf
    """Least value allowed; itself forbidden where `open_low`."""
    high: float = math.inf
    """Greatest value allowed."""
    open_low: bool = False
    whole: bool = False
    """Only whole numbers are allowed."""
    optional: bool = False
    """None is allowed and switches it off."""
    choices: tuple[str, ...] | None = None
    """The words allowed, for settings that are no numbers."""

    @property
    def span(self) -> str:
        """The allowed values in words."""
        if self.choices is not None:
            return " or ".join(self.choices)
        if self.low == -math.inf:
            text = "any number"
        elif self.high == math.inf:
            text = f"{'>' if self.open_low else '>='} {self.low:g}"
        else:
            text = f"{self.low:g} to {self.high:g}"
        text = f"whole and {text}" if self.whole else text
        return f"{text}, or none" if self.optional else text

    def allows(self, value: object) -> bool:
        """Whether `value` is one of the allowed values."""
        if self.choices is not None:
            return value in self.choices
        if value is None:
            return self.optional
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            return False
        if self.whole and not isinstance(value, int):
            return False
        return self.low <= value <= self.high and not (self.open_low and value == self.low)


def setting(default: Any, symbol: str, doc: str, **limits: Any) -> Any:
    """Declare a hyperparameter as a dataclass field: default, symbol, meaning and limits."""
    return field(default=default, metadata={"setting": Setting(symbol=symbol, doc=doc, **limits)})


def override(base: type, name: str, default: Any, **changes: Any) -> Any:
    """Declare a hyperparameter of `base` with another default, and what else `changes` of its `Setting`."""
    known = next(f for f in fields(base) if f.name == name).metadata["setting"]
    return field(default=default, metadata={"setting": replace(known, **changes)})


def settings_of(owner: Any) -> list[tuple[Field[Any], Setting]]:
    """List the fields of a dataclass (class or value) that were declared with `setting`."""
    return [(f, f.metadata["setting"]) for f in fields(owner) if "setting" in f.metadata]


def check_settings(value: Any) -> None:
    """Raise InputError for the first hyperparameter of `value` outside its limits."""
    for f, known in settings_of(value):
        given = getattr(value, f.name)
        if isinstance(f.default, bool):
            if not isinstance(given, bool):
                raise InputError(f"{f.name} must be true or false, not {given!r}")
        elif not known.allows(given):
            raise InputError(
                f"{f.name} ({known.symbol}) of {type(value).__name__} must be {known.span}, not {given!r}"
            )
