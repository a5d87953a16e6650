"""What a checkpoint can hold of a user's values, in the types that `torch.load` reads back safely."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy
import torch


def portable(value: Any, lost: set[str]) -> Any:
    """Return `value` in plain types: numbers of numpy as Python's, any sequence as a list.

    None stands in the place of everything else, such as images; the names of such types are added
    to `lost`.
    """
    if value is None or type(value) in (bool, int, float, str) or isinstance(value, torch.Tensor):
        return value
    if isinstance(value, numpy.generic | numpy.ndarray):
        plain = value.tolist()
        return portable(plain, lost) if type(plain) is not type(value) else _lose(value, lost)
    if isinstance(value, dict):
        return {portable(key, lost): portable(one, lost) for key, one in value.items()}
    for kind in (bool, int, float, str):
        if isinstance(value, kind):  # of a class derived from it
            return kind(value)
    if isinstance(value, Collection) and not isinstance(value, bytes):
        return [portable(one, lost) for one in value]
    return _lose(value, lost)


def _lose(value: Any, lost: set[str]) -> None:
    lost.add(type(value).__name__)
