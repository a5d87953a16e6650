"""Complete token prompts, several times each, without doing any work twice.

A prompt that is asked for several times is prefilled once and its cache repeated; rows that are
finished leave the batch. `generate` prepares everything, as it does for its own loop: it merges the
generation configs, builds the logits processors and stopping criteria, and calls ours instead.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache as once
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.tensor import DTensor
from transformers import (
    DynamicCache,
    GenerationConfig,
    GenerationMixin,
    LogitsProcessorList,
    StoppingCriteriaList,
)
from transformers.cache_utils import DynamicLayer
from transformers.generation import logits_process as known
from transformers.generation.configuration_utils import GenerationMode
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.integrations.fsdp import is_fsdp_managed_module

from maspo.sampling.decode import Task, Unsupported, decode

logger = logging.getLogger(__name__)

CPU_BUDGET = 2 * 2**30
"""Bytes of cache by default on a CPU, where larger batches gain nothing; on a GPU half of what is free."""

PROCESSORS = (
    known.TemperatureLogitsWarper,
    known.TopKLogitsWarper,
    known.TopPLogitsWarper,
    known.MinPLogitsWarper,
    known.TypicalLogitsWarper,
    known.EpsilonLogitsWarper,
    known.EtaLogitsWarper,
    known.RepetitionPenaltyLogitsProcessor,
    known.NoRepeatNGramLogitsProcessor,
    known.NoBadWordsLogitsProcessor,
    known.SequenceBiasLogitsProcessor,
    known.SuppressTokensLogitsProcessor,
    known.SuppressTokensAtBeginLogitsProcessor,
    known.MinLengthLogitsProcessor,
    known.MinNewTokensLengthLogitsProcessor,
    known.InfNanRemoveLogitsProcessor,
    known.LogitNormalization,
)
"""Processors that look at one row at a time and keep nothing between the steps."""


def complete(
    model: Any,
    prompts: Sequence[Sequence[int]],
    samples: int,
    config: GenerationConfig,
    *,
    cache_budget: int | None = None,
) -> list[list[list[int]]]:
    """Complete each prompt `samples` times; see `complete_rows`."""
    rows = complete_rows(
        model, [prompt for prompt in prompts for _ in range(samples)], config, cache_budget
    )
    return [rows[start : start + samples] for start in range(0, len(rows), samples)]


def complete_rows(
    model: Any,
    rows: Sequence[Sequence[int]],
    config: GenerationConfig,
    cache_budget: int | None = None,
) -> list[list[int]]:
    """Complete token prompts, one completion for each row, as `model.generate` with `config` would.

    Equal rows are prefilled once. Completions come without padding and with the end-of-sequence
    token if there is one. Greedy decoding gives the tokens of `generate`, sampling its distribution:
    every row draws from random numbers of its own, taken from torch's generator at the start. The
    model stays in the mode that it is in; where that has dropout, equal rows share their prompt's.

    `cache_budget` bounds the bytes of the key-value cache: rows that do not fit together are decoded
    one wave after another, which changes nothing else. Where a model or a config needs what only
    `generate` can do, `generate` is called with all rows at once, and a warning logged once.

    Raises FloatingPointError where the probabilities to sample from are not finite.
    """
    try:
        return decode_rows(model, rows, config, cache_budget)
    except Unsupported as reason:
        say_once(type(model).__name__, str(reason))
    return _completions_of_generate(model, rows, config)


def decode_rows(
    model: Any,
    rows: Sequence[Sequence[int]],
    config: GenerationConfig,
    cache_budget: int | None = None,
) -> list[list[int]]:
    """Complete token prompts as `complete_rows` does; Unsupported where only `generate` can."""
    if _has_own_generate(model):
        raise Unsupported("its generate is its own")
    if _is_spread(model):
        raise Unsupported("its parameters are spread over processes")
    distinct = list(dict.fromkeys(map(tuple, rows)))
    place = {prompt: number for number, prompt in enumerate(distinct)}
    decoder = _GroupDecoder([place[tuple(row)] for row in rows], cache_budget)
    _generate(model, distinct, config, custom_generate=decoder)
    return decoder.completions


def _has_own_generate(model: Any) -> bool:
    """Whether `generate` is not that of transformers, or PEFT's or a wrapper around it."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    theirs: Any = GenerationMixin
    return _inside(base.generate) is not _inside(theirs.generate) or (
        _inside(model.generate) is not _inside(type(model).generate)
    )


def _inside(method: Any) -> Any:
    """Return the function that is below decorators and wrappers."""
    found = unwrap(method)
    return getattr(found, "__func__", found)


def _is_spread(model: Any) -> bool:
    """Whether some of the weights lie in other processes, so that a pass takes all of them."""
    if any(isinstance(module, FullyShardedDataParallel) for module in model.modules()):
        return True
    return any(
        isinstance(p, DTensor) or (hasattr(p, "ds_id") and not p.numel())
        for p in model.parameters()
    )


@once
def say_once(model: str, reason: str) -> None:
    """Log why a model is decoded by `generate`, once for each reason."""
    logger.warning("%s is decoded by plain generate: %s.", model, reason)


def _generate(
    model: Any, prompts: Sequence[Sequence[int]], config: GenerationConfig, **kwargs: Any
) -> Any:
    """Call `generate` with prompts padded on the left."""
    longest = max(map(len, prompts))
    pad = config.pad_token_id
    pad = model.generation_config.pad_token_id if pad is None else pad
    ids = torch.full((len(prompts), longest), 0 if pad is None else int(pad))
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    return model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        generation_config=config,
        **kwargs,
    )


def _completions_of_generate(
    model: Any, rows: Sequence[Sequence[int]], config: GenerationConfig
) -> list[list[int]]:
    eos = config.eos_token_id
    eos = model.generation_config.eos_token_id if eos is None else eos
    ends = {eos} if isinstance(eos, int) else set(eos or ())
    longest = max(map(len, rows))
    completions = []
    # Processes that each have all weights, of a model that is dealt out otherwise, need not step together.
    managed = is_deepspeed_zero3_enabled() or is_fsdp_managed_module(model)
    alone = {"synced_gpus": False} if managed and not _is_spread(model) else {}
    for ids in _generate(model, rows, config, **alone)[:, longest:].tolist():
        stop = next((place for place, token in enumerate(ids) if token in ends), len(ids))
        completions.append(ids[: stop + 1])
    return completions


class _GroupDecoder:
    """The decoding method that `generate` calls, with one row for each distinct prompt."""

    def __init__(self, prompt_of: list[int], cache_budget: int | None) -> None:
        self.prompt_of = prompt_of
        self.cache_budget = cache_budget
        self.completions: list[list[int]] = [[] for _ in prompt_of]

    def __call__(
        self,
        model: Any,
        input_ids: Tensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: StoppingCriteriaList,
        generation_config: GenerationConfig,
        **model_kwargs: Any,
    ) -> None:
        # By these names as named parameters, generate would take the caller's for them.
        cache = model_kwargs.pop("past_key_values", None)
        limit = int(generation_config.max_length or 0)
        task = Task(
            model=model,
            ids=input_ids,
            mask=model_kwargs.pop("attention_mask", None),
            positions=model_kwargs.pop("position_ids", None),
            extras=model_kwargs,
            processors=logits_processor,
            criteria=stopping_criteria,
            limit=limit,
        )
        _refuse(task, generation_config, cache)
        size = (len(self.prompt_of), limit - input_ids.shape[1])
        uniforms = None
        if generation_config.do_sample:
            uniforms = torch.rand(size, dtype=torch.float64, device=input_ids.device)
        order = sorted(range(len(self.prompt_of)), key=self.prompt_of.__getitem__)
        together = self._rows_together(model, limit)
        for first in range(0, len(order), together):
            wave = order[first : first + together]
            prompt_of = [self.prompt_of[row] for row in wave]
            completions = decode(task, prompt_of, None if uniforms is None else uniforms[wave])
            for row, completion in zip(wave, completions, strict=True):
                self.completions[row] = completion

    def _rows_together(self, model: Any, limit: int) -> int:
        """Return how many rows of this many tokens fit into the budget of the cache."""
        config = model.config.get_text_config(decoder=True)
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        head_dim = getattr(config, "head_dim", None)
        head_dim = head_dim or config.hidden_size // config.num_attention_heads
        token = 2 * config.num_hidden_layers * heads * head_dim * model.dtype.itemsize
        budget = _default_budget(model.device) if self.cache_budget is None else self.cache_budget
        return max(1, budget // (token * limit))


def _default_budget(device: torch.device) -> int:
    if device.type != "cuda":
        return CPU_BUDGET
    free, _ = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return (free + unused) // 2


def _refuse(task: Task, config: GenerationConfig, cache: Any) -> None:
    """Raise Unsupported for what the loop cannot do as `generate` does it."""
    mode = config.get_generation_mode()
    if mode not in (GenerationMode.SAMPLE, GenerationMode.GREEDY_SEARCH):
        raise Unsupported(f"the generation mode is {mode.value}")
    if config.num_return_sequences not in (None, 1):
        raise Unsupported("num_return_sequences is not 1")
    if not isinstance(cache, DynamicCache) or cache.offloading:
        raise Unsupported("it has no plain dynamic cache")
    if any(type(layer) is not DynamicLayer for layer in cache.layers):
        raise Unsupported("some layers of its cache are not of full attention")
    if task.positions is not None and task.positions.ndim != 2:
        raise Unsupported("its positions have several dimensions")
    if unknown := task.extras.keys() - {"use_cache", "logits_to_keep"}:
        raise Unsupported(f"its forward pass takes {', '.join(sorted(unknown))}")
    if task.ids.device.type == "mps":
        raise Unsupported("its device has no float64")
    for processor in task.processors:
        if type(processor) not in PROCESSORS:
            raise Unsupported(f"{type(processor).__name__} may look at the batch as a whole")
