"""Which engine samples, and how it is opened on a model."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from maspo.models.device import best_device
from maspo.models.generation import save_model, source_end_tokens
from maspo.models.load import load_model, load_tokenizer
from maspo.models.source import locate
from maspo.sampling.interface import Sampler

BATCH_SIZES = {"transformers": 32, "vllm": 512}
"""The engines, with the number of completions that each decodes together if none is asked for."""


def choose_engine(asked: str) -> str:
    """Settle `auto`: vLLM where it is installed and there is a GPU, else transformers."""
    if asked != "auto":
        return asked
    import torch

    fast = importlib.util.find_spec("vllm") is not None and torch.cuda.is_available()
    return "vllm" if fast else "transformers"


def choose_dtype(asked: str) -> str:
    """Settle `auto`: bfloat16 on an accelerator, float32 on a CPU."""
    if asked != "auto":
        return asked
    return "float32" if best_device().type == "cpu" else "bfloat16"


def open_sampler(
    engine: str,
    source: str,
    *,
    dtype: str,
    context: int,
    chat_template: str | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> Sampler:
    """Load a model where `best_device` says, for sequences of at most `context` tokens.

    `chat_template` is as `put_template` takes it.
    """
    if engine == "vllm":
        return _with_vllm(source, dtype, context, chat_template, chat_template_kwargs)
    from maspo.sampling.with_transformers import TransformersSampler

    model, tokenizer = load_model(source, dtype, chat_template)
    return TransformersSampler(model.to(best_device()), tokenizer, chat_template_kwargs)


def _with_vllm(
    source: str,
    dtype: str,
    context: int,
    chat_template: str | None,
    chat_template_kwargs: Mapping[str, Any] | None,
) -> Sampler:
    from maspo.sampling.with_vllm import VllmSampler, start

    place, tokenizer = locate(source), load_tokenizer(source, chat_template)
    # Its own defaults, not those of the checkpoint.
    settings = {"dtype": dtype, "max_model_len": context, "generation_config": "vllm"}
    if place.converted:
        with TemporaryDirectory() as folder:  # vLLM reads whole safetensors
            save_model(*load_model(source, dtype, chat_template), Path(folder))
            engine = start(folder, **settings)
    else:
        engine = start(place.path, **settings)
    ends = source_end_tokens(place, tokenizer)
    return VllmSampler(engine, tokenizer, ends=ends, chat_template_kwargs=chat_template_kwargs)
