"""TRL's colocated vLLM as a run needs it, and what lends it to evaluations.

TRL starts one vLLM in the process that trains and hands it the weights before every rollout. Ours
is the same class of TRL's with four differences: it is started in the precision of training, from the
run's seed, and from a model that was read from a GGUF file too; and on a CPU, where vLLM packs weights
when it loads them, they are handed over whole, so that they are packed anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from trl.generation import vllm_generation
from trl.trainer import grpo_trainer

from maspo.data import Problem
from maspo.models.generation import end_tokens
from maspo.sampling import Sample, SampleKey, Sampler, Settings
from maspo.sampling.interface import WHOLE, Part
from maspo.sampling.text import TemplateVariables
from maspo.sampling.with_transformers import TransformersSampler
from maspo.sampling.with_vllm import VllmSampler, check_installed, start_settings


@contextmanager
def vllm_is_ours(args: Any) -> Iterator[None]:
    """While GRPOTrainer is made with `args`, let the vLLM that it starts be ours."""
    theirs = grpo_trainer.VLLMGeneration
    grpo_trainer.VLLMGeneration = partial(Generation, args=args)
    try:
        yield
    finally:
        grpo_trainer.VLLMGeneration = theirs


class Generation(vllm_generation.VLLMGeneration):
    """TRL's, with the differences that stand above; in server mode there are none."""

    llm: Any

    def __init__(self, *given: Any, args: Any, **kwargs: Any) -> None:
        """Take what TRL's class takes, and the trainer's `args`."""
        self._args = args
        super().__init__(*given, **kwargs)

    def _init_vllm(self) -> None:
        check_installed()
        if self.mode != "colocate":
            super()._init_vllm()
            return
        theirs: Any = vllm_generation.LLM
        vllm_generation.LLM = partial(self._started, theirs)
        try:
            super()._init_vllm()
        finally:
            vllm_generation.LLM = theirs

    def _started(self, llm: Any, *, model: str, seed: int, **settings: Any) -> Any:
        """Start vLLM; `seed` tells TRL's groups of processes apart, which sample different prompts."""
        settings |= start_settings() | {"dtype": self._dtype, "seed": self._args.seed + seed}
        if not _unreadable(model):
            return llm(model=model, **settings)
        with TemporaryDirectory() as folder:  # weights come before the first rollout
            for part in (self.model.config, self.model.generation_config, self.processing_class):
                part.save_pretrained(folder)
            return llm(model=folder, load_format="dummy", **settings)

    @property
    def _dtype(self) -> str:
        """That of training's arithmetic, so that rollouts and updates differ by little."""
        if self._args.bf16:
            return "bfloat16"
        return "float16" if self._args.fp16 else str(self.model.dtype).removeprefix("torch.")

    def sync_weights(self) -> None:
        """Hand over the weights as they are now."""
        if self.mode != "colocate" or torch.cuda.is_available():
            super().sync_weights()
            return
        weights = {"weights_iterator": self._iter_named_params()}
        self.llm.collective_rpc("reload_weights", kwargs=weights)
        self.llm.apply_model(_pack_shared)
        self.llm.reset_prefix_cache()

    @contextmanager
    def lent(self, model: Any) -> Iterator[Any]:
        """Give vLLM with the weights of `model` for as long as the block takes."""
        mine, self.model = self.model, model
        try:
            with _base_kept(model):
                self.sync_weights()
        finally:
            self.model = mine
        if not self.enable_sleep_mode:
            yield self.llm
            return
        self.llm.wake_up(tags=["kv_cache"])
        try:
            yield self.llm
        finally:
            self.llm.sleep(level=2)
            self._llm_weights_sleeping = True


class ColocatedSampler:
    """Samples from the weights of training with the vLLM that makes its rollouts; see `Sampler`."""

    def __init__(self, trainer: Any, model: Any, chat_template_kwargs: TemplateVariables) -> None:
        """Take the trainer, and the model whose weights are handed over when sampling begins."""
        self._trainer, self._model, self._template = trainer, model, chat_template_kwargs

    def sample(
        self,
        problems: Sequence[Problem],
        settings: Settings,
        done: Collection[SampleKey] = (),
        part: Part = WHOLE,
    ) -> Iterator[list[Sample]]:
        """Yield the samples chunk by chunk.

        Raises InputError where two problems share an id, RunError where the model has diverged.
        """
        self._trainer.guard.check_weights()
        tokenizer = self._trainer.processing_class
        ends = end_tokens(self._model.generation_config, tokenizer)
        with self._trainer.vllm_generation.lent(self._model) as engine:
            sampler = VllmSampler(engine, tokenizer, ends=ends, chat_template_kwargs=self._template)
            yield from sampler.sample(problems, settings, done, part)


def sampler_of(trainer: Any, model: Any, chat_template_kwargs: TemplateVariables) -> Sampler:
    """Return what samples evaluations of `model`: what the rollouts come from."""
    if trainer.use_vllm:
        return ColocatedSampler(trainer, model, chat_template_kwargs)
    return TransformersSampler(model, trainer.processing_class, chat_template_kwargs)


def _pack_shared(model: Any) -> None:
    """Pack a head that shares the weights of the embeddings, which vLLM's reload does for them alone."""
    for layer in model.modules():
        if hasattr(layer, "cpu_linear") and layer.weight.numel():
            layer.quant_method.process_weights_after_loading(layer)


def _unreadable(model: str) -> bool:
    """Whether it is a folder from which a GGUF file was read."""
    place = Path(model)
    return place.is_dir() and not any(place.glob("*.safetensors"))


@contextmanager
def _base_kept(model: Any) -> Iterator[None]:
    """Put weights under adapters back bit for bit: TRL merges and parts them again, which rounds."""
    layers = [one.get_base_layer() for one in model.modules() if hasattr(one, "get_base_layer")]
    kept = [(one.weight, one.weight.detach().to("cpu", copy=True)) for one in layers]
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, value in kept:
                weight.copy_(value)
