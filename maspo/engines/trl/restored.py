"""A trained model, made again from what training changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from maspo.engines.trl.adapters import peft_config
from maspo.errors import RunError
from maspo.models.adapter import merged_with_adapter
from maspo.models.load import load_model
from maspo.recipes.schema import Recipe


def restored(recipe: Recipe, path: Path) -> Any:
    """Load the recipe's model with the parameters that `save_trained` wrote; adapters are merged into it."""
    model, _ = load_model(recipe.model.source, recipe.model.dtype, recipe.model.chat_template)
    lora = recipe.model.lora
    if lora:
        from peft import get_peft_model

        model = get_peft_model(model, peft_config(lora))
    strange = model.load_state_dict(load_file(path), strict=False).unexpected_keys
    if strange:
        raise RunError(f"{path} is of another model: {strange[0]} is not in {recipe.model.source}")
    return merged_with_adapter(model) if lora else model
