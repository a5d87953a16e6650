"""The reference of the KL term: the weights that were handed in, wherever they came from."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers.integrations import is_deepspeed_zero3_enabled
from trl.trainer import grpo_trainer


@contextmanager
def reference_is(model: Any) -> Iterator[None]:
    """While GRPOTrainer is made, let its reference be a frozen copy of `model`.

    TRL loads the reference by the name that the policy's configuration holds. For a merged adapter, a
    GGUF file or a model that was changed after loading that is another model, or none at all. A policy
    given by name is loaded by TRL twice, and one that ZeRO-3 has dealt out cannot be copied: there
    the reference stays TRL's, and a warning says so for ZeRO-3.
    """
    if isinstance(model, str):
        yield
        return

    def reference(name: str, *rest: Any, **kwargs: Any) -> Any:
        if is_deepspeed_zero3_enabled():
            warnings.warn(
                f"with ZeRO-3 the reference of the KL term is loaded from {name}: it is the model that was "
                "handed in only if that one was loaded from there and not changed since",
                stacklevel=2,
            )
            return load(name, *rest, **kwargs)
        return copy.deepcopy(model).requires_grad_(False).eval()

    load = grpo_trainer.create_model_from_path
    grpo_trainer.create_model_from_path = reference
    try:
        yield
    finally:
        grpo_trainer.create_model_from_path = load
