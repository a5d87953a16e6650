"""Which engine samples, and how it is opened on a model."""

import importlib.util
from tempfile import TemporaryDirectory
from typing import Any

from maspo.models.load import EMBEDDED, load_model
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
    """Settle `auto`: bfloat16 on a GPU, float32 on a CPU."""
    if asked != "auto":
        return asked
    import torch

    return "bfloat16" if torch.cuda.is_available() else "float32"


def open_sampler(engine: str, source: str, tokenizer: Any, *, dtype: str, context: int) -> Sampler:
    """Load a model, on the GPU where there is one, for sequences of at most `context` tokens."""
    if engine == "vllm":
        return _with_vllm(source, tokenizer, dtype, context)
    import torch

    from maspo.sampling.with_transformers import TransformersSampler

    model, _ = load_model(source, dtype)
    return TransformersSampler(model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer)


def _with_vllm(source: str, tokenizer: Any, dtype: str, context: int) -> Sampler:
    from maspo.sampling.with_vllm import VllmSampler

    place = str(EMBEDDED) if source == "embedded" else source
    if not place.endswith(".gguf"):
        return VllmSampler(place, tokenizer, dtype=dtype, context=context)
    with TemporaryDirectory() as folder:  # vLLM reads safetensors
        load_model(source, dtype)[0].save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return VllmSampler(folder, tokenizer, dtype=dtype, context=context)
