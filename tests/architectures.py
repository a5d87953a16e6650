"""Models of many architectures that a test can train: tiny, of random weights, the embedded tokenizer."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from maspo.models import EMBEDDED

CONTEXT = 256
WINDOW = 8
"""Tokens that a layer with a sliding window sees: fewer than a prompt has, so that the window acts."""

SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": CONTEXT,
}  # fmt: skip
EXPERTS = {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2}
NO_DROPOUT = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT, **NO_DROPOUT}
GEMMA = {**SIZES, "sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}

ARCHITECTURES: dict[str, dict[str, Any]] = {
    # Rotary positions.
    "llama": SIZES,
    "qwen2": SIZES,
    "qwen3": SIZES,
    # Linear biases (ALiBi).
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    # Learned positions: OPT's from its mask, the others' from what the caller says.
    "gpt2": GPT2,
    "gpt_neo": {
        "hidden_size": 32, "num_layers": 2, "num_heads": 4, "max_position_embeddings": CONTEXT,
        "attention_types": [[["global", "local"], 1]], "window_size": WINDOW,
    },
    "gpt_bigcode": GPT2,
    "opt": {
        "hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "word_embed_proj_dim": 32, "max_position_embeddings": CONTEXT, "dropout": 0.0,
    },
    # Sliding windows.
    "mistral": {**SIZES, "sliding_window": WINDOW},
    "gemma2": {**GEMMA, "query_pre_attn_scalar": 8},
    "gemma3_text": {**GEMMA, "query_pre_attn_scalar": 8},
    # Mixtures of experts.
    "qwen2_moe": {**SIZES, **EXPERTS, "shared_expert_intermediate_size": 32},
    "mixtral": {**SIZES, "num_local_experts": 4, "num_experts_per_tok": 2},
    # A state space.
    "mamba": {"hidden_size": 32, "state_size": 8, "num_hidden_layers": 2},
    # Vision and language.
    "gemma3": {
        "text_config": {**GEMMA, "query_pre_attn_scalar": 8},
        "vision_config": {
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "patch_size": 14,
            "num_attention_heads": 2, "image_size": 28,
        },
        "mm_tokens_per_image": 4,
    },
}  # fmt: skip
"""Settings of each, by the name that its configuration has in transformers."""

LEARNED_POSITIONS = ("gpt2", "gpt_neo", "gpt_bigcode")
"""Those that count padding as positions, unless they are told the positions."""


def make(name: str, **settings: Any) -> tuple[Any, Any]:
    """Return (model, tokenizer) of an architecture: the same weights each time, float32, in eval mode.

    The weights are large enough that the model says various things, and depends on its positions.
    `settings` are further fields of the configuration.
    """
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    room = len(tokenizer) + 4  # for the tokens of images
    tokens = {
        "vocab_size": room, "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
    }  # fmt: skip
    shape = dict(ARCHITECTURES[name])
    if "text_config" in shape:
        shape["text_config"] = {**shape["text_config"], **tokens}
        images = ("boi_token_index", "eoi_token_index", "image_token_index")
        shape |= {image: room - place for place, image in enumerate(images, 1)}
    else:
        shape |= tokens
    config = AutoConfig.for_model(name, **(shape | settings))
    torch.manual_seed(6)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            parameter.data.mul_(8)
    return model, tokenizer


def save(name: str, folder: Path, generation: dict[str, Any] | None = None, **settings: Any) -> str:
    """Write what `make` returns into a folder, with fields of generation_config.json; return its path."""
    model, tokenizer = make(name, **settings)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if generation:
        file = folder / "generation_config.json"
        file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | generation), "utf-8")
    return str(folder)
