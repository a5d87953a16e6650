"""Adapters: merged into their base model, so that what is saved is whole, and kept beside it."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from maspo.errors import InputError
from maspo.models.quantized import is_quantized


def merged(model: Any, source: str, adapter: str) -> Any:
    """Merge the adapter in the folder or hub repository `adapter` into `model`, and return that.

    Raises InputError where PEFT is not installed, the adapter is of a kind that cannot be merged, or
    weights of it are missing or left over.
    """
    if importlib.util.find_spec("peft") is None:
        raise InputError(f"{source} holds an adapter, which needs a package: pip install peft")
    from peft import PeftConfig, get_peft_model

    config = PeftConfig.from_pretrained(adapter)
    config.base_model_name_or_path = model.name_or_path  # or PEFT warns of another name for it
    wrapped: Any = get_peft_model(model, config)
    if not hasattr(wrapped.base_model, "merge_and_unload"):
        kind = getattr(config.peft_type, "value", config.peft_type)
        raise InputError(
            f"{source} holds an adapter of the kind {kind}, which cannot be merged into a model"
        )
    found = wrapped.load_adapter(adapter, "default", torch_device="cpu")
    wrong = [*found.missing_keys, *found.unexpected_keys]
    if wrong:
        raise InputError(f"the adapter in {source} does not fit its base model: {wrong[0]}")
    # PEFT has frozen the weights below, which are to be trained.
    return wrapped.merge_and_unload().requires_grad_(True)


_ADAPTER = "maspo_adapter"
"""Attribute of a merged model with the configuration and the weights of its trained adapter."""


def merged_with_adapter(model: Any) -> Any:
    """Merge a PEFT model's adapter and return the model below, which keeps a copy for `save_adapter`.

    Weights in 4 or 8 bits are widened first, as the sum would be rounded to these again.
    """
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    config = model.peft_config["default"]
    weights = {k: v.detach().cpu().clone() for k, v in get_peft_model_state_dict(model).items()}
    if is_quantized(model):
        base = model.unload()
        model = get_peft_model(base.dequantize(dtype=base.dtype), config)
        set_peft_model_state_dict(model, weights)
    whole = model.merge_and_unload()
    setattr(whole, _ADAPTER, (config, weights))
    return whole


def has_adapter(model: Any) -> bool:
    """Whether a model was merged by `merged_with_adapter`."""
    return hasattr(model, _ADAPTER)


def save_adapter(model: Any, base: str, folder: Path) -> None:
    """Write the adapter of a merged model as PEFT does, an adapter of the model `base`."""
    from safetensors.torch import save_file

    config, weights = getattr(model, _ADAPTER)
    config.base_model_name_or_path, config.inference_mode = base, True
    config.save_pretrained(str(folder))
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def merge_adapter(folder: Path, adapter: Path) -> None:
    """Merge the adapter in the folder `adapter` into the model in `folder`, which is written anew."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    merged(model, str(folder), str(adapter)).save_pretrained(folder)
    shutil.rmtree(adapter)
