"""What models of common sizes take, by the arithmetic of `maspo plan`."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from generate.markdown import table

QWEN2 = {
    "model_type": "qwen2",
    "architectures": ["Qwen2ForCausalLM"],
    "max_position_embeddings": 32768,
}
SIZES: dict[str, dict[str, Any]] = {
    "0.5B": {
        "hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
        "intermediate_size": 4864, "vocab_size": 151936, "tie_word_embeddings": True,
    },
    "1.5B": {
        "hidden_size": 1536, "num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 2,
        "intermediate_size": 8960, "vocab_size": 151936, "tie_word_embeddings": True,
    },
    "7B": {
        "hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
        "intermediate_size": 18944, "vocab_size": 152064, "tie_word_embeddings": False,
    },
}  # fmt: skip
"""Shapes of Qwen2.5, from the configurations that Qwen published."""

EIGHT: dict[str, dict[str, Any]] = {
    "1.5B": SIZES["1.5B"] | {"tie_word_embeddings": False},
    "7B": SIZES["7B"],
    "14B": {
        "hidden_size": 5120, "num_hidden_layers": 48, "num_attention_heads": 40, "num_key_value_heads": 8,
        "intermediate_size": 13824, "vocab_size": 152064, "tie_word_embeddings": False,
    },
}  # fmt: skip
"""Shapes of DeepSeek-R1-Distill-Qwen, of which the shipped recipes for verl are."""

RECIPE = """
data: {source: arithmetic}
rollout: {prompts: 16, samples: 8, max_completion_tokens: 1024}
training: {updates_per_rollout: 4, micro_batch: 4, gradient_checkpointing: true, precision: bfloat16}
"""
"""What is trained: 4 completions of 1,024 tokens in a pass, with checkpoints of activations."""

PROMPT = 256
"""Tokens of the longest prompt."""

WAYS = {
    "all weights": [],
    "LoRA, weights in bfloat16": ["model.lora={}", "model.dtype=bfloat16"],
    "LoRA, weights in 4 bits": ["model.lora={}", "model.dtype=bfloat16", "model.quantization=4bit"],
}


def estimates() -> dict[tuple[str, str], Any]:
    """Estimate every size under every way of training, as `maspo plan` does."""
    from maspo.engines.engine import engine_named
    from maspo.lab.forecast.memory import estimate_memory
    from maspo.models.skeleton import skeleton
    from maspo.recipes import load_recipe

    engine, found = engine_named("trl"), {}
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "recipe.yaml").write_text(RECIPE, "utf-8")
        for size, shape in SIZES.items():
            folder = Path(work) / size
            folder.mkdir()
            (folder / "config.json").write_text(json.dumps(QWEN2 | shape), "utf-8")
            for way, settings in WAYS.items():
                settings = [f"model.source={folder}", *settings]
                recipe = load_recipe(str(Path(work) / "recipe.yaml"), settings)
                model = skeleton(recipe.model.source, recipe.model.dtype)
                found[size, way] = estimate_memory(recipe, engine, model, PROMPT, 1)
    return found


def table_of_sizes() -> str:
    """Write what training takes on one GPU, and on each of eight with everything dealt out to them."""
    from maspo.lab.forecast.memory import in_gb

    rows = []
    for (size, way), one in estimates().items():
        parts = one.weights, one.gradients + one.optimizer, one.cache, one.activations, one.peak()
        dealt_out = replace(one, cache=one.cache // 8).peak(8)
        rows.append((size, way, f"{one.trained:,}", *map(in_gb, (*parts, dealt_out))))
    columns = "model", "training", "trained", "weights", "gradients and moments", "cache"
    return table((*columns, "activations", "one GPU", "each of eight"), rows)


def on_eight(size: str) -> tuple[Any, ...]:
    """Return what a shipped recipe for verl takes on eight GPUs, all but the activations.

    These are parameters, bytes of training on each, tokens of a micro-batch, bytes of the sampler's weights,
    GPUs that share them, and what is offloaded.
    """
    from maspo.models.skeleton import skeleton
    from maspo.recipes import load_recipe

    recipe = load_recipe(f"dapo-math-r1-qwen-{size.lower()}")
    actor = "actor_rollout_ref.actor."
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(QWEN2 | EIGHT[size]), "utf-8")
        count = skeleton(folder, recipe.model.dtype).num_parameters()
    split = recipe.verl["actor_rollout_ref.rollout.tensor_model_parallel_size"]
    parts = {"optimizer_offload": "optimizer", "param_offload": "weights"}
    moved = [word for key, word in parts.items() if recipe.verl.get(f"{actor}fsdp_config.{key}")]
    tokens = recipe.verl[f"{actor}ppo_max_token_len_per_gpu"]
    return count, 16 * count // 8, tokens, 2 * count // split, split, moved


def activations(size: str) -> int:
    """Estimate the bytes that autograd keeps of a micro-batch of the longest sequences."""
    from maspo.models.skeleton import activation_bytes, imagined, skeleton
    from maspo.recipes import load_recipe

    recipe = load_recipe(f"dapo-math-r1-qwen-{size.lower()}")
    prompt, completion = recipe.data.max_prompt_tokens, recipe.rollout.max_completion_tokens
    assert prompt is not None
    rows = on_eight(size)[2] // (prompt + completion)
    with tempfile.TemporaryDirectory() as folder:
        shape = QWEN2 | EIGHT[size] | {"max_position_embeddings": 131072}
        (Path(folder) / "config.json").write_text(json.dumps(shape), "utf-8")
        model = skeleton(folder, recipe.model.dtype)
        with imagined(model):
            return activation_bytes(
                model, rows, prompt, completion, bfloat16=True, checkpointing=True
            )


def table_of_eight() -> str:
    """Write what the shipped recipes for verl take on eight GPUs."""
    from maspo.lab.forecast.memory import in_gb

    rows = []
    for size in EIGHT:
        count, training, tokens, sampler, split, moved = on_eight(size)
        shared = f"{in_gb(sampler)}{', on two GPUs' if split == 2 else ''}"
        taken = f"{count:,}", in_gb(training), f"{tokens:,}", in_gb(activations(size)), shared
        rows.append((size, *taken, " and ".join(moved) or "nothing"))
    columns = "model", "parameters", "training, a GPU of 8", "micro-batch, tokens"
    return table((*columns, "its activations", "sampler's weights", "offloaded"), rows)
