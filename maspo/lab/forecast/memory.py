"""What a run keeps in the memory of a GPU, or of the machine without one, estimated without its weights."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch

from maspo.engines.engine import InProcessEngine
from maspo.models.quantized import bytes_spared
from maspo.models.skeleton import (
    activation_bytes,
    cache_bytes,
    imagined,
    longest,
    parameter_bytes,
)
from maspo.recipes import Recipe

GB = 1e9


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes in one process, of the longest prompt and completions that the recipe allows."""

    parameters: int
    """A number, not bytes: parameters of the model, adapters included."""
    trained: int
    """A number, not bytes: of those, the ones that training changes."""
    weights: int
    """Those of the reference model of a KL term with them."""
    gathered: int
    """Those of the policy in the dtype of its passes, which a process has whole while it samples."""
    gradients: int
    optimizer: int
    cache: int
    """Keys and values at the end of sampling a rollout; 0 with vLLM, which has its own share."""
    activations: int
    """Kept for the backward pass of one micro-batch."""

    def peak(self, shards: int = 1) -> int:
        """Return the most at once, weights and what is trained of them dealt out to so many processes."""
        spread = (self.weights + self.optimizer) // shards
        sampling = self.cache + (self.gathered if shards > 1 else 0)
        return spread + max(sampling, self.gradients // shards + self.activations)

    def sentence(self) -> str:
        """Say the parts and their sum."""
        parts = [
            f"{name} {in_gb(size)}"
            for name, size in (
                ("weights", self.weights),
                ("gradients", self.gradients),
                ("optimizer", self.optimizer),
                ("cache of a rollout", self.cache),
                ("activations of a micro-batch", self.activations),
            )
            if size
        ]
        return f"about {in_gb(self.peak())} at most: {', '.join(parts)}"


def estimate_memory(
    recipe: Recipe, engine: InProcessEngine, model: Any, prompt: int, processes: int
) -> Memory:
    """Estimate the memory of a run from a `skeleton` of its model.

    Args:
        recipe: of the run.
        engine: what trains.
        model: as `skeleton` returned it; adapters are put on it.
        prompt: tokens of the longest prompt.
        processes: among which a rollout is dealt out.
    """
    whole, _ = parameter_bytes(model)
    quantization = recipe.model.quantization
    spared = bytes_spared(model, quantization)
    half = engine.in_bfloat16(recipe, model.num_parameters())
    model = engine.with_adapters(recipe, model)
    weights, trained = parameter_bytes(model)
    reference = whole if recipe.training.kl and not recipe.model.lora else 0
    completion = recipe.rollout.max_completion_tokens
    rows, own_cache = recipe.completions // processes, recipe.rollout.engine == "transformers"
    length = longest(model, prompt + completion)
    parameters = sum(p.numel() for p in model.parameters())
    changed = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if quantization is not None:  # TRL trains their adapters in bfloat16
        spared, trained = spared + trained - 2 * changed, 2 * changed
    with imagined(model):
        cache = cache_bytes(model, rows, length, bfloat16=half) if own_cache else 0
        activations = activation_bytes(
            model, recipe.training.micro_batch, length - completion, completion,
            bfloat16=half, checkpointing=recipe.training.gradient_checkpointing,
        )  # fmt: skip
    return Memory(
        parameters=parameters,
        trained=changed,
        weights=weights - spared + reference,
        gathered=(2 * parameters if half else weights) - spared,
        gradients=trained,
        # Two moments of each number, as large as it, or of a byte.
        optimizer=2 * (changed if recipe.training.optimizer.name == "adamw_8bit" else trained),
        cache=cache,
        activations=activations,
    )


def device_memory() -> tuple[str, int]:
    """Name what a run would train on here, and the bytes of its memory."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if torch.accelerator.is_available():
        return str(torch.accelerator.current_accelerator()), total
    return "CPU, no GPU here", total


def in_gb(size: int) -> str:
    """Write bytes in GB, or in MB where they are few."""
    if size < 0.1 * GB:
        return f"{size / 1e6:.0f} MB"
    return f"{size / GB:.1f} GB" if size < 100 * GB else f"{size / GB:.0f} GB"
