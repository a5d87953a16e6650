"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from enum import StrEnum
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

import typer

from maspo.engines.engine import ENGINES, Launch

RecipeName = Annotated[str, typer.Argument(help="A YAML file, or one of `maspo recipes`.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a key, as training.learning_rate=1e-5."
    ),
]
ABOUT = ", or ".join(f"{name}, {ENGINES[name].about}" for name in ENGINES)
EngineName = Annotated[str, typer.Option("--engine", help=f"What trains: {ABOUT}.")]
Strict = Annotated[bool, typer.Option(help="Refuse what is otherwise only warned of.")]
JSON = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


class SamplerName(StrEnum):
    """What samples."""

    AUTO = "auto"
    TRANSFORMERS = "transformers"
    VLLM = "vllm"


class Precision(StrEnum):
    """Number format of the weights."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


ModelName = Annotated[
    str, typer.Argument(help="embedded, a hub id owner/name, a folder, or a .gguf file.")
]
SamplerEngine = Annotated[
    SamplerName,
    typer.Option("--engine", help="auto: vllm where it is installed and there is a GPU."),
]
Dtype = Annotated[Precision, typer.Option(help="auto: bfloat16 on a GPU, float32 on a CPU.")]
SamplingSeed = Annotated[int, typer.Option(help="Fixes the samples, on one machine.")]
Temperature = Annotated[float, typer.Option(help="0 is greedy decoding.")]
TopP = Annotated[float, typer.Option(help="Share of the probability that is kept.")]
ChatTemplate = Annotated[
    str | None,
    typer.Option(
        help="A file with the chat template, or plain: the prompt alone, for base models; "
        "without it the model's own.",
    ),
]
LAUNCH_OPTIONS = {
    "nodes": Annotated[int | None, typer.Option(help="verl: number of machines.")],
    "gpus_per_node": Annotated[int | None, typer.Option(help="verl: GPUs of each machine.")],
    "backend": Annotated[str | None, typer.Option(help="verl: fsdp, fsdp2 or megatron.")],
    "rollout": Annotated[str | None, typer.Option(help="verl: vllm or sglang.")],
    "submit": Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="verl: send it to a running Ray cluster as a job."),
    ],
    "dry_run": Annotated[
        bool,
        typer.Option(help="Check and show everything, run nothing: races, and training with verl."),
    ],
}
"""The options of a command that starts runs: one for each field of `Launch`."""


def launches(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options `LAUNCH_OPTIONS` in place of `launch`, its last parameter, a keyword."""

    @wraps(command)
    def with_options(**given: Any) -> None:
        launch = Launch(**{name: given.pop(name) for name in LAUNCH_OPTIONS})
        command(**given, launch=launch)

    kept = list(signature(command, eval_str=True).parameters.values())[:-1]
    added = [
        Parameter(f.name, kept[-1].kind, default=f.default, annotation=LAUNCH_OPTIONS[f.name])
        for f in fields(Launch)
    ]
    return with_signature(with_options, [*kept, *added])


def with_signature(command: Callable[..., None], parameters: Sequence[Parameter]) -> Any:
    """Have `command` show these parameters; typer reads its options from them."""
    shown: Any = command
    shown.__signature__ = Signature(parameters)
    shown.__annotations__ = {one.name: one.annotation for one in parameters}
    return shown
