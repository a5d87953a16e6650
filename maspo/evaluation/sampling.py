"""Sample completions of problems from a model with transformers' `generate`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from maspo.data.problems import Problem
from maspo.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One completion of one problem."""

    problem_id: str
    index: int
    """Which of the problem's samples this is, from 0."""
    text: str
    """The completion without special tokens."""
    tokens: int
    """Length of the completion, the end-of-sequence token included."""
    finish: str
    """`"stop"` if the model ended the sequence, `"length"` if the limit did."""


def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    *,
    samples: int,
    temperature: float,
    top_p: float = 1.0,
    max_new_tokens: int,
    batch_size: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> list[Sample]:
    """Sample every problem `samples` times; problem by problem, in the order given.

    `batch_size` counts completions. Temperature 0 is greedy decoding. `progress` is called after
    each batch with the number of completions in it.

    The seed fixes the result for one model, one set of problems, one `batch_size` and one kind of
    device; the order of the problems and the state of the caller's random generators do not
    matter, and the latter is left as it was. A problem added or taken away, or another batch
    size, changes which random numbers meet which completion: same distribution, other samples.
    """
    prompts = {problem.id: _prompt(tokenizer, problem) for problem in problems}
    if len(prompts) < len(problems):
        raise InputError("two problems have the same id; samples are told apart by it.")
    # Sorted by length for little padding, and by id so that the order of `problems` is forgotten.
    order = sorted(prompts, key=lambda problem_id: (len(prompts[problem_id]), problem_id))
    rows = [(problem_id, index) for problem_id in order for index in range(samples)]
    # Every sampling setting is given, so that the checkpoint's own generation_config has no say;
    # for greedy decoding they are the neutral values, of which transformers does not complain.
    greedy = temperature == 0
    pad = tokenizer.pad_token_id
    config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=not greedy,
        temperature=1.0 if greedy else temperature,
        top_p=1.0 if greedy else top_p,
        top_k=50 if greedy else 0,
        repetition_penalty=1.0,
        # Masked before a prompt, cut off after a completion: where none is named, any token serves.
        pad_token_id=tokenizer.eos_token_id if pad is None else pad,
    )
    done: dict[tuple[str, int], Sample] = {}
    with _isolated(model, seed):
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            completions = _generate(model, config, [prompts[problem_id] for problem_id, _ in batch])
            for row, ids in zip(batch, completions, strict=True):
                done[row] = _as_sample(model, tokenizer, row, ids)
            if progress is not None:
                progress(len(batch))
    return [done[problem.id, index] for problem in problems for index in range(samples)]


def _prompt(tokenizer: PreTrainedTokenizerBase, problem: Problem) -> list[int]:
    messages = list(problem.prompt)
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return tokenizer.encode(str(text), add_special_tokens=False)


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


def _generate(
    model: PreTrainedModel, config: GenerationConfig, prompts: list[list[int]]
) -> list[list[int]]:
    """Complete token prompts, padded on the left; completions still carry their padding."""
    longest = max(map(len, prompts))
    ids = torch.full((len(prompts), longest), int(config.pad_token_id))
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    output = cast(Any, model).generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        generation_config=config,
    )
    return output[:, longest:].tolist()


def _as_sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    row: tuple[str, int],
    ids: list[int],
) -> Sample:
    """Cut a completion after its first end-of-sequence token."""
    eos = model.generation_config.eos_token_id
    ends = {eos} if isinstance(eos, int) else set(eos or ())
    stop = next((place for place, token in enumerate(ids) if token in ends), None)
    kept = ids if stop is None else ids[: stop + 1]
    return Sample(
        problem_id=row[0],
        index=row[1],
        text=cast(str, tokenizer.decode(kept, skip_special_tokens=True)),
        tokens=len(kept),
        finish="length" if stop is None else "stop",
    )
