"""A look at what a model says to one prompt."""

from __future__ import annotations

from dataclasses import dataclass

from maspo.data import Problem
from maspo.errors import InputError
from maspo.evaluation.prompts import token_budget
from maspo.models.load import check_source, load_tokenizer, read_limits
from maspo.sampling import Sample, Settings, draw
from maspo.sampling.engines import choose_dtype, choose_engine, open_sampler
from maspo.sampling.text import prompt_tokens


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a model was asked and what it said."""

    prompt: str
    """The exact text that the model was given, its chat template and special tokens included."""
    samples: list[Sample]


def sample_prompt(
    model: str,
    prompt: str,
    *,
    samples: int = 1,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_tokens: int | None = None,
    chat_template: str | None = None,
    engine: str = "auto",
    dtype: str = "auto",
    seed: int = 0,
) -> Said:
    """Ask a model one thing; InputError for what cannot be asked, before the model is loaded.

    Args:
        model: as `maspo.models.load_model` takes it.
        prompt: what the user says.
        samples: completions.
        temperature: 0 is greedy.
        top_p: share of the probability that is kept.
        max_tokens: of a completion; None: 4096, or what the context leaves.
        chat_template: as `put_template` takes it.
        engine: as `choose_engine` takes it.
        dtype: as `choose_dtype` takes it.
        seed: fixes the samples, on one machine.
    """
    if not prompt.strip():
        raise InputError("the prompt is empty")
    check_source(model)
    tokenizer = load_tokenizer(model, chat_template)
    problem = Problem(id="prompt", prompt=({"role": "user", "content": prompt},))
    ids = prompt_tokens(tokenizer, problem)
    tokens, context = token_budget(max_tokens, read_limits(model), [ids])
    settings = Settings(
        samples=samples,
        temperature=temperature,
        top_p=top_p,
        max_new_tokens=tokens,
        batch_size=samples,
        seed=seed,
    )
    sampler = open_sampler(
        choose_engine(engine),
        model,
        dtype=choose_dtype(dtype),
        context=context,
        chat_template=chat_template,
    )
    return Said(prompt=tokenizer.decode(ids), samples=draw(sampler, [problem], settings))
