"""Sample completions of problems with transformers, on whatever device the model lies."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from maspo.data.problems import Problem
from maspo.errors import RunError
from maspo.models.generation import end_tokens, padding_token
from maspo.sampling.group import complete
from maspo.sampling.interface import WHOLE, Part, Sample, SampleKey, Settings, check_unique, layout
from maspo.sampling.text import TemplateVariables, as_sample, prompt_tokens


class TransformersSampler:
    """Samples from a loaded model; see `Sampler`.

    The seed fixes the result for one model, one set of problems, one `batch_size` and one kind of
    device; the order of the problems and the state of the caller's random generators do not
    matter, and the latter is left as it was.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        chat_template_kwargs: TemplateVariables = None,
    ) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._template = chat_template_kwargs

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
        check_unique(problems)
        prompts = {one.id: prompt_tokens(self._tokenizer, one, self._template) for one in problems}
        lengths = {problem: len(ids) for problem, ids in prompts.items()}
        ends = end_tokens(self._model.generation_config, self._tokenizer)
        config = _generation_config(settings, ends, padding_token(self._model, self._tokenizer))
        for chunk in layout(lengths, settings, done, part):
            asked = [prompts[problem] for problem in chunk.problems]
            with _isolated(self._model, chunk.seed), _diverging():
                drawn = complete(self._model, asked, len(chunk.indices), config)
            completions = [ids for each in drawn for ids in each]
            yield [
                as_sample(
                    self._tokenizer, row, chunk.seed, ids, "stop" if ids[-1] in ends else "length"
                )
                for row, ids in zip(chunk.rows, completions, strict=True)
                if row not in done
            ]


def _generation_config(settings: Settings, ends: list[int], pad: int) -> GenerationConfig:
    # What is not given here transformers takes from model.generation_config, of which loading leaves
    # token ids alone; for greedy decoding these are the neutral values, of which it does not complain.
    greedy = settings.temperature == 0
    return GenerationConfig(
        max_new_tokens=settings.max_new_tokens,
        do_sample=not greedy,
        temperature=1.0 if greedy else settings.temperature,
        top_p=1.0 if greedy else settings.top_p,
        top_k=50 if greedy else 0,
        repetition_penalty=1.0,
        eos_token_id=ends or None,
        pad_token_id=pad,
    )


@contextmanager
def _diverging() -> Iterator[None]:
    try:
        yield
    except FloatingPointError as error:
        raise RunError(str(error)) from None


@contextmanager
def _isolated(model: PreTrainedModel, seed: int) -> Iterator[None]:
    """Seed torch and put the model in eval mode without gradients; undo all of it afterwards."""
    training = model.training
    kind = model.device.type
    devices = [] if kind in ("cpu", "mps") else [model.device]  # mps has no generators by device
    model.eval()
    try:
        with torch.random.fork_rng(devices=devices, device_type=kind), torch.no_grad():
            torch.manual_seed(seed)
            yield
    finally:
        model.train(training)
