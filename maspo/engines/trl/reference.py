"""The reference of the KL term: the weights that were handed in, wherever they came from."""

from __future__ import annotations

import copy
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
    the reference stays TRL's.
    """
    if isinstance(model, str) or is_deepspeed_zero3_enabled():
        yield
        return

    def copy_of_policy(*_: Any, **__: Any) -> Any:
        return copy.deepcopy(model).requires_grad_(False).eval()

    load = grpo_trainer.create_model_from_path
    grpo_trainer.create_model_from_path = copy_of_policy
    try:
        yield
    finally:
        grpo_trainer.create_model_from_path = load
