"""A trained model, made again from what training changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from maspo.engines.trl.adapters import peft_config
from maspo.errors import RunError
from maspo.models.adapter import merged_with_adapter
from maspo.models.load import load_model
from maspo.recipes.schema import Recipe


def restored(recipe: Recipe, path: Path) -> Any:
    """Load the recipe's model with the parameters that `save_trained` wrote; adapters are merged into it."""
    return remade(recipe, load_file(path))


def remade(recipe: Recipe, weights: Mapping[str, Tensor]) -> Any:
    """Load the recipe's model with the parameters of `trained_weights`; adapters are merged into it."""
    named, lora = recipe.model, recipe.model.lora
    model, _ = load_model(named.source, named.dtype, named.chat_template, named.quantization)
    if lora:
        from peft import get_peft_model

        model = get_peft_model(model, peft_config(lora))
    strange = model.load_state_dict(weights, strict=False).unexpected_keys
    if strange:
        raise RunError(
            f"the trained weights are of another model: {strange[0]} is not in {named.source}"
        )
    return merged_with_adapter(model) if lora else model
