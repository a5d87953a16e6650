"""Positions that do not count padding, as `generate` gives them to the model it samples from.

TRL scores rows that are padded on the left, and leaves their positions to the model. A model with
learned absolute positions then counts the padding, and scores a distribution that was not sampled
from; a narrower pass over the same row scores a third one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor


def takes_positions(model: Any) -> bool:
    """Return whether `model` is one of text alone that has to be told where a row begins.

    Rotary positions are relative: padding shifts nothing, and stays as TRL has it, to the last bit.
    """
    if hasattr(model, "get_base_model"):
        if model.active_peft_config.is_prompt_learning:  # PEFT warns of positions and drops them
            return False
        model = model.get_base_model()
    config = model.config
    text_alone = config.get_text_config() is config
    rotary = getattr(config, "rope_parameters", None) is not None
    takes = "position_ids" in inspect.signature(type(model).forward).parameters
    return text_alone and takes and not rotary


def positions(attention_mask: Tensor) -> Tensor:
    """Number the tokens of each row from 0, int64 `[rows, columns]`; padding gets 0."""
    places = attention_mask.long().cumsum(1) - 1
    return places.masked_fill(attention_mask == 0, 0)


def forward_of(model: Any, bare: Any) -> Callable[..., Any]:
    """Return the forward pass of `model`, with positions where `bare`, what is inside, needs them."""
    return with_positions(model) if takes_positions(bare) else model


def with_positions(model: Any) -> Callable[..., Any]:
    """Return the forward pass of `model`, with `position_ids` from its mask unless they are given.

    The mask may be wider than the tokens, where a cache holds what is before them.
    """

    def forward(**inputs: Any) -> Any:
        columns = inputs["input_ids"].size(1)
        inputs.setdefault("position_ids", positions(inputs["attention_mask"])[:, -columns:])
        return model(**inputs)

    return forward
