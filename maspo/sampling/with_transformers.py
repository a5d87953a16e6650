"""Sample completions of problems with transformers, on whatever device the model lies."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from maspo.data.problems import Problem
from maspo.sampling.group import complete
from maspo.sampling.interface import Row, Sample, Settings, check_unique, layout
from maspo.sampling.text import as_sample, end_tokens, prompt_tokens


class TransformersSampler:
    """Samples from a loaded model; see `Sampler`.

    The seed fixes the result for one model, one set of problems, one `batch_size` and one kind of
    device; the order of the problems and the state of the caller's random generators do not
    matter, and the latter is left as it was.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._model, self._tokenizer = model, tokenizer

    def sample(
        self, problems: Sequence[Problem], settings: Settings, done: Collection[Row] = ()
    ) -> Iterator[list[Sample]]:
        """Yield the samples chunk by chunk; InputError where two problems share an id."""
        check_unique(problems)
        prompts = {problem.id: prompt_tokens(self._tokenizer, problem) for problem in problems}
        lengths = {problem: len(ids) for problem, ids in prompts.items()}
        ends = end_tokens(self._model.generation_config.eos_token_id, self._tokenizer)
        config = _generation_config(settings, self._tokenizer, ends)
        for chunk in layout(lengths, settings, done):
            asked = [prompts[problem] for problem in chunk.problems]
            with _isolated(self._model, chunk.seed):
                drawn = complete(self._model, asked, len(chunk.indices), config)
            completions = [ids for each in drawn for ids in each]
            yield [
                as_sample(
                    self._tokenizer, row, chunk.seed, ids, "stop" if ids[-1] in ends else "length"
                )
                for row, ids in zip(chunk.rows, completions, strict=True)
                if row not in done
            ]


def _generation_config(
    settings: Settings, tokenizer: PreTrainedTokenizerBase, ends: set[int]
) -> GenerationConfig:
    # Every sampling setting is given, so that the checkpoint's own generation_config has no say;
    # for greedy decoding they are the neutral values, of which transformers does not complain.
    greedy = settings.temperature == 0
    pad = tokenizer.pad_token_id
    return GenerationConfig(
        max_new_tokens=settings.max_new_tokens,
        do_sample=not greedy,
        temperature=1.0 if greedy else settings.temperature,
        top_p=1.0 if greedy else settings.top_p,
        top_k=50 if greedy else 0,
        repetition_penalty=1.0,
        eos_token_id=sorted(ends),
        # Masked before a prompt, cut off after a completion: where none is named, any token serves.
        pad_token_id=tokenizer.eos_token_id if pad is None else pad,
    )


@contextmanager
def _isolated(model: PreTrainedModel, seed: int) -> Iterator[None]:
    """Seed torch and put the model in eval mode without gradients; undo all of it afterwards."""
    training = model.training
    devices = [model.device] if model.device.type == "cuda" else []
    model.eval()
    try:
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            torch.manual_seed(seed)
            yield
    finally:
        model.train(training)
