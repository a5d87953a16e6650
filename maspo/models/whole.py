"""Whether what was loaded is the model that was meant: every weight there, of its shape, and finite."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from maspo.errors import InputError
from maspo.models.quantized import plain_parameters


def check_loaded(source: str, found: Mapping[str, Collection[Any]]) -> None:
    """Raise InputError where the loading info of `from_pretrained` names weights that do not fit."""
    mismatched = [each if isinstance(each, str) else each[0] for each in found["mismatched_keys"]]
    wrong = {
        "missing": found["missing_keys"],
        "without a place in it": found["unexpected_keys"],
        "of another shape": mismatched,
    }
    parts = [f"{how}: {_some(names)}" for how, names in wrong.items() if names]
    if parts:
        raise InputError(f"the weights of {source} are not those of its model; {'; '.join(parts)}")


def check_finite(source: str, model: Any) -> None:
    """Raise InputError where a weight is NaN or infinite, as a diverged run leaves it."""
    broken = [name for name, weight in plain_parameters(model) if not weight.isfinite().all()]
    if broken:
        raise InputError(f"the weights of {source} hold NaN or infinite numbers: {_some(broken)}")


def _some(names: Collection[str]) -> str:
    """List the first three names, and how many there are besides."""
    first = ", ".join(sorted(names)[:3])
    return first if len(names) <= 3 else f"{first} and {len(names) - 3} more"
