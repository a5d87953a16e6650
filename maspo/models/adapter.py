"""Adapters: merged into their base model when it is loaded, so that what is saved later is whole."""

from __future__ import annotations

import importlib.util
from typing import Any

from maspo.errors import InputError


def merged(model: Any, source: str, adapter: str) -> Any:
    """Merge the adapter in the folder or hub repository `adapter` into `model`, and return that.

    Raises InputError where PEFT is not installed, the adapter is of a kind that cannot be merged, or
    weights of it are missing or left over.
    """
    if importlib.util.find_spec("peft") is None:
        raise InputError(f"{source} holds an adapter, which needs a package: pip install peft")
    from peft import PeftConfig, get_peft_model

    config = PeftConfig.from_pretrained(adapter)
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
