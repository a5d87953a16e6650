"""Weights of a checkpoint whose files name them otherwise than the model that wrote them.

Transformers saves some models, vision-language ones above all, under the names that their first
versions had, and `from_pretrained` translates them; Trainer does not when it resumes.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from maspo.errors import InputError


def are_renamed(model: Any, place: Path) -> bool:
    """Whether the weights in `place` have other names than those of `model`; false without weights."""
    saved = _names(place)
    if saved is None:
        return False
    tensors = model.state_dict()
    there = {tensor.data_ptr() for name, tensor in tensors.items() if name in saved}
    # Of tied weights one is enough.
    missing = any(tensor.data_ptr() not in there for tensor in tensors.values())
    return missing or bool(saved - tensors.keys())


def load_renamed(model: Any, place: Path) -> None:
    """Load the weights in `place` through the translation of `from_pretrained`.

    Raises InputError where they are not those of `model`.
    """
    exact: Any = torch.promote_types(
        model.dtype, torch.float32
    )  # holds any narrower number exactly
    try:
        loaded, found = type(model).from_pretrained(
            place, config=copy.deepcopy(model.config), dtype=exact, output_loading_info=True
        )
    except RuntimeError as error:  # shapes that differ
        raise _of_another_model(place, " ".join(str(error).split())) from error
    wrong = sorted({*found["missing_keys"], *found["unexpected_keys"]})
    if wrong:
        raise _of_another_model(place, f"{wrong[0]} is not in both")
    model.load_state_dict(loaded.state_dict())


def _of_another_model(place: Path, why: str) -> InputError:
    return InputError(f"{place}: the checkpoint is of another model: {why}")


def _names(place: Path) -> set[str] | None:
    """Return the names of the tensors in `place`, None where it holds no safetensors."""
    index, single = place / SAFE_WEIGHTS_INDEX_NAME, place / SAFE_WEIGHTS_NAME
    if single.exists():
        with safe_open(single, framework="pt") as file:
            return set(file.keys())
    if index.exists():
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    return None
