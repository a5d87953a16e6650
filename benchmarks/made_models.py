"""Models of several sizes for the benchmarks, made on the spot where no download is needed."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from maspo.models import load_model

SIZES: dict[str, dict[str, Any]] = {
    "27M": {
        "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8, "num_attention_heads": 8,
        "num_key_value_heads": 4, "vocab_size": 4096,
    },
    "135M": {  # SmolLM2's
        "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
        "num_key_value_heads": 3, "vocab_size": 49152,
    },
    "1B": {  # Llama 3.2's
        "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128256,
    },
}  # fmt: skip
"""Llamas of random weights, by the number of their parameters."""


def get_model(name: str, dtype: str = "float32") -> tuple[Any, Any]:
    """Load a model, or make one of `SIZES` with the embedded tokenizer; return it with its tokenizer."""
    if name not in SIZES:
        return load_model(name, dtype)
    config = LlamaConfig(
        **SIZES[name], tie_word_embeddings=True, max_position_embeddings=8192, bos_token_id=1,
        eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    return model, load_model("embedded")[1]
