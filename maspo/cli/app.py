"""The commands."""

from __future__ import annotations

from typing import Annotated

import typer

import maspo
from maspo.cli import compare, data, evaluate
from maspo.cli.explore import explore
from maspo.cli.look import doctor, objectives, plan
from maspo.cli.recipes import recipes_app
from maspo.cli.replay import replay
from maspo.cli.report import report
from maspo.cli.sample import sample
from maspo.cli.terminal import console, verbose
from maspo.cli.train import export, resume, train

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"maspo {maspo.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    silent: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print nothing but errors and JSON.")
    ] = False,
    chatty: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Let the frameworks speak; show tracebacks of errors."
        ),
    ] = False,
) -> None:
    """MASPO and its rivals: train language models with verifiable rewards, and see what it did."""
    console.quiet, console.stderr = silent, False
    if chatty:
        verbose()


PANELS = {
    "Train": {
        "train": train, "resume": resume, "export": export, "plan": plan, "doctor": doctor,
    },
    "Evaluate": {"eval": evaluate.evaluate, "score": evaluate.score},
    "Compare": {
        "compare": compare.compare, "ablate": compare.ablate, "report": report, "replay": replay,
    },
    "Look": {"objectives": objectives, "explore": explore, "sample": sample},
}  # fmt: skip
"""The commands as `maspo --help` groups them."""

for panel, commands in PANELS.items():
    for name, command in commands.items():
        app.command(name, rich_help_panel=panel)(command)
app.add_typer(recipes_app, name="recipes", rich_help_panel="Train")
app.add_typer(data.data_app, name="data", rich_help_panel="Evaluate")
