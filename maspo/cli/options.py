"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from maspo.engines.engine import ENGINES

RecipeName = Annotated[str, typer.Argument(help="A YAML file, or one of `maspo recipes`.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a key, as training.learning_rate=1e-5."
    ),
]
ABOUT = ", or ".join(f"{name}, {ENGINES[name].about}" for name in ENGINES)
EngineName = Annotated[str, typer.Option("--engine", help=f"What trains: {ABOUT}.")]
Nodes = Annotated[int | None, typer.Option(help="verl: number of machines.")]
Gpus = Annotated[int | None, typer.Option(help="verl: GPUs of each machine.")]
Backend = Annotated[str | None, typer.Option(help="verl: fsdp, fsdp2 or megatron.")]
RolloutEngine = Annotated[str | None, typer.Option("--rollout", help="verl: vllm or sglang.")]
DryRun = Annotated[bool, typer.Option(help="verl: check and print the command, run nothing.")]
Submit = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="verl: send it to a running Ray cluster as a job."),
]
