"""`maspo sample`."""

from __future__ import annotations

from typing import Annotated

import typer

from maspo.cli.options import (
    JSON,
    ChatTemplate,
    Dtype,
    ModelName,
    Precision,
    SamplerEngine,
    SamplerName,
    SamplingSeed,
    Temperature,
    TopP,
)
from maspo.cli.terminal import for_programs, print_json, quiet, say


def sample(
    model: ModelName,
    prompt: Annotated[str, typer.Argument(help="What the user says.")],
    samples: Annotated[int, typer.Option(help="Completions.")] = 1,
    temperature: Temperature = 1.0,
    top_p: TopP = 1.0,
    max_tokens: Annotated[
        int | None, typer.Option(help="Longest completion; without it what the context leaves.")
    ] = None,
    chat_template: ChatTemplate = None,
    engine: SamplerEngine = SamplerName.AUTO,
    dtype: Dtype = Precision.AUTO,
    seed: SamplingSeed = 0,
    as_json: JSON = False,
) -> None:
    """Ask a model one thing: the exact prompt that it gets, and what it says."""
    for_programs(as_json)
    quiet()
    from maspo.lab.sample import sample_prompt

    said = sample_prompt(
        model, prompt, samples=samples, temperature=temperature, top_p=top_p, max_tokens=max_tokens,
        chat_template=chat_template, engine=engine.value, dtype=dtype.value, seed=seed,
    )  # fmt: skip
    say(said.prompt, "dim")
    for one in said.samples:
        say(one.text)
        cut = ", cut off" if one.finish == "length" else ""
        say(f"({one.tokens} tokens{cut})\n", "dim")
    if as_json:
        kept = ("text", "tokens", "finish", "seed")
        rows = [{name: getattr(one, name) for name in kept} for one in said.samples]
        print_json({"prompt": said.prompt, "samples": rows})
