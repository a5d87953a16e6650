"""A prompt that several rows of a pass have is run through the model once, with gradient.

    prefix      the distinct prompts, but for their last token, fill a cache of keys and values
    rows        [last token of the prompt, completion], each behind the keys and values of its prompt

The columns stay where they are in rows `[prompt completion]`, padding included, so a token sees what it
would see there, at the same position, and the gradient of a prompt is the sum over its rows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from maspo.engines.trl.passes import TextRows
from maspo.engines.trl.positions import positions, takes_positions

ScoreRows = Callable[[Any, Tensor, Tensor, int], Any]
"""TRL's scoring of rows: takes model, ids, mask and completion columns; returns log-probabilities,
entropies and a third thing."""


RowScores = tuple[Tensor, Tensor | None]
"""Log-probabilities and entropies of the completions, `[rows, completion columns]`."""


def objection(model: Any) -> str | None:
    """Say why the prompts of `model`, as it is now, cannot be shared; None: by its looks they can."""
    adapters = getattr(model, "active_peft_config", None)
    if adapters is not None and adapters.is_prompt_learning:
        return "its adapter puts tokens of its own before the prompt"
    bare = _bare(model)
    if "past_key_values" not in inspect.signature(type(bare).forward).parameters:
        return "it keeps no keys and values"
    text = bare.config.get_text_config(decoder=True)
    kinds = {type(layer) for layer in DynamicCache(config=text).layers}
    if not kinds <= {DynamicLayer, DynamicSlidingWindowLayer}:
        return "some of its layers keep more than keys and values"
    if model.training and any(isinstance(m, torch.nn.Dropout) and m.p for m in model.modules()):
        return "its dropout differs from row to row"
    if model.training and torch.is_grad_enabled():
        again = [m for m in model.modules() if getattr(m, "gradient_checkpointing", False)]
        how = [getattr(m._gradient_checkpointing_func, "keywords", {}) for m in again]
        if any(one.get("use_reentrant") is not False for one in how):
            return "its gradient checkpointing is reentrant"
    return None


def score_shared(score: ScoreRows, model: Any, bare: Any, text: TextRows) -> Any:
    """Score the rows of a pass as `score` does, each distinct prompt run once.

    Args:
        score: gets the last tokens of the prompts and the completions, and a `model` that has seen
            what is before them.
        model: the forward pass that the rows go through.
        bare: the model inside of it, whose backbone takes the prompts.
        text: the rows, with prompts of more than one column.

    Raises LookupError where the model leaves no keys and values behind.
    """
    prompt_of = text.prompts()
    split = text.prompt - 1
    with _cache_at_hand(bare):
        layers = _run_prefixes(bare, text.ids[:, :split], text.mask[:, :split], prompt_of)
        cache = Cache(layers=[_RepeatedLayer(layer, prompt_of) for layer in layers])
        behind = _behind(model, cache, text.mask)
        return score(behind, text.ids[:, split:], text.mask[:, split:], text.completion)


def _run_prefixes(bare: Any, ids: Tensor, mask: Tensor, prompt_of: Tensor) -> list[Any]:
    """Run the prefix of each prompt through the backbone; return the layers of the cache."""
    first = torch.stack([(prompt_of == n).nonzero()[0, 0] for n in range(int(prompt_of.max()) + 1)])
    cache = Cache(layer_class_to_replicate=_RecordingLayer)
    backbone = _bare(bare).base_model
    ids, mask = ids[first], mask[first]
    given = {"position_ids": positions(mask)} if takes_positions(bare) else {}
    backbone(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=False, **given)
    layers: list[Any] = list(cache.layers)
    if not layers or any(layer.get_seq_length() != ids.size(1) for layer in layers):
        raise LookupError("its forward pass leaves no keys and values behind")
    return layers


def _behind(model: Any, cache: Cache, mask: Tensor) -> Callable[..., Any]:
    """Return the forward pass of `model` over the last columns of `mask`; `cache` holds the others."""

    def forward(**inputs: Any) -> Any:
        inputs["attention_mask"] = mask
        if "position_ids" in inputs:
            inputs["position_ids"] = positions(mask)[:, -inputs["input_ids"].size(1) :]
        return model(**inputs, past_key_values=cache)

    return forward


def _bare(model: Any) -> Any:
    """Return the causal language model inside PEFT's wrapper."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


class _RecordingLayer(DynamicLayer):
    """Keeps the keys and values of the prompts, once: a checkpoint that runs its layer again gets its own."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states, value_states
        return key_states, value_states


class _RepeatedLayer(DynamicLayer):
    """Lays the keys and values of its prompt before those of every row, and keeps no others."""

    def __init__(self, layer: Any, prompt_of: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(layer.keys, layer.values)
        self.keys, self.values, self._prompt_of = layer.keys, layer.values, prompt_of

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        pairs: Any = ((self.keys, key_states), (self.values, value_states))
        keys, values = (
            torch.cat([prompt.index_select(0, self._prompt_of), row], dim=-2)
            for prompt, row in pairs
        )
        return keys, values


@contextmanager
def _cache_at_hand(model: Any) -> Iterator[None]:
    """Let layers under gradient checkpointing have a cache that stays the same when they are run again."""
    layers = [m for m in model.modules() if hasattr(m, "_can_checkpoint_with_cache")]
    for layer in layers:
        layer._can_checkpoint_with_cache = True
    try:
        yield
    finally:
        for layer in layers:
            del layer._can_checkpoint_with_cache
