"""A model without its weights: how large it is, and what its passes keep in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from maspo.models.load import ModelLimits, read_config


def skeleton(source: str, dtype: str) -> Any:
    """Build a model from its configuration, all on the meta device; InputError where that cannot be read."""
    from transformers import AutoModelForCausalLM

    config = read_config(source)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    return model.train()


@contextmanager
def imagined(model: Any) -> Iterator[None]:
    """While the block runs, a skeleton computes as on a CPU, with shapes and without numbers.

    What measures passes needs it. The skeleton is of no use afterwards.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        made: dict[int, torch.Tensor] = {}  # what is tied stays so
        for module in model.modules():
            for known in (module._parameters, module._buffers):
                for name, tensor in known.items():
                    if tensor is not None:
                        known[name] = made.setdefault(id(tensor), _on_cpu(tensor))
        yield


def _on_cpu(tensor: torch.Tensor) -> torch.Tensor:
    empty = torch.empty_like(tensor, device="cpu")
    if isinstance(tensor, torch.nn.Parameter):
        return torch.nn.Parameter(empty, requires_grad=tensor.requires_grad)
    return empty


def parameter_bytes(model: Any) -> tuple[int, int]:
    """Return the bytes of all parameters, and of those that are trained."""
    every = [(p.numel() * p.element_size(), p.requires_grad) for p in model.parameters()]
    return sum(size for size, _ in every), sum(size for size, trained in every if trained)


def activation_bytes(
    model: Any, rows: int, prompt: int, completion: int, *, bfloat16: bool, checkpointing: bool
) -> int:
    """Return what autograd keeps for the backward pass of `rows` prompts with completions, in tokens.

    The log-probabilities of the completions, and the gradient of their logits, are counted with it.
    """
    ids = torch.zeros(rows, prompt + completion, dtype=torch.long)

    def kept() -> int:
        with _saved(model) as saved, torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            found = model(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                use_cache=False,
                logits_to_keep=completion + 1,
            )
            torch.logsumexp(found.logits, -1)
        return sum(saved.values()) + found.logits.untyped_storage().nbytes()

    whole = kept()
    if not checkpointing:
        return whole
    model.gradient_checkpointing_enable({"use_reentrant": False})
    thin = kept()
    # The backward pass computes one layer anew at a time.
    return thin + (whole - thin) // model.config.get_text_config().num_hidden_layers


def cache_bytes(model: Any, rows: int, tokens: int, *, bfloat16: bool) -> int:
    """Return the size of the cache of keys and values when `rows` of so many tokens were generated."""
    ids = torch.zeros(1, tokens, dtype=torch.long)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        layers = model(input_ids=ids, use_cache=True, logits_to_keep=1).past_key_values.layers
    tensors = [tensor for layer in layers for tensor in (layer.keys, layer.values)]
    return rows * sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def longest(model: Any, tokens: int) -> int:
    """Return `tokens`, or what the model's context holds if that is less."""
    context = ModelLimits.of(model.config).context
    return tokens if context is None else min(tokens, context)


@contextmanager
def _saved(model: Any) -> Iterator[dict[int, int]]:
    """Collect the bytes of what is saved for a backward pass, by storage; parameters are not among it."""
    own = {t.untyped_storage()._cdata for t in (*model.parameters(), *model.buffers())}
    saved: dict[int, int] = {}
    alive: list[Any] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own and storage._cdata not in saved:
            saved[storage._cdata] = storage.nbytes()
            alive.append(storage)  # or its address would be another one's
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved
