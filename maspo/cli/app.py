"""The commands."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Annotated

import typer

from maspo.cli import compare, data, evaluate
from maspo.cli.explore import explore
from maspo.cli.options import EngineName, Overrides, RecipeName, launches
from maspo.cli.replay import replay
from maspo.cli.report import report
from maspo.cli.terminal import console, quiet, say
from maspo.engines.engine import (
    DEFAULT_ENGINE,
    ENGINES,
    InProcessEngine,
    Launch,
    LaunchedEngine,
    engine_named,
)
from maspo.errors import InputError, RunError
from maspo.lab.run.folder import RunFolder
from maspo.recipes.schema import Recipe

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="MASPO and its rivals: train language models with verifiable rewards, and see what it did.",
)
WRITE_ERRORS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EFBIG,
    errno.EIO,
)
"""What the system says where a file cannot be written."""


@app.command()
@launches
def train(
    recipe: RecipeName = "quickstart",
    set_: Overrides = None,
    out: Annotated[
        str | None, typer.Option(help="Folder of the run: new, empty, or with this run unfinished.")
    ] = None,
    strict: Annotated[bool, typer.Option(help="Refuse what is otherwise only warned of.")] = False,
    engine: EngineName = DEFAULT_ENGINE,
    *,
    launch: Launch,
) -> None:
    """Evaluate, train, evaluate again; without arguments the quickstart, on any computer."""
    from maspo.recipes import load_recipe, plan

    trainer = engine_named(engine)
    launch.check(trainer)
    chosen = load_recipe(recipe, set_ or [])
    launched = isinstance(trainer, LaunchedEngine)
    folder = RunFolder.choose(out, chosen.name) if launched else choose_folder(out, chosen.name)
    for line in plan(chosen, trainer.shares(chosen, launch)):
        say(line, "dim")
    for line in trainer.unused(chosen, launch):
        say(f"warning    {line}", "dim")
    for name in ENGINES:
        if name != engine and getattr(chosen, name):
            keys = ", ".join(getattr(chosen, name))
            say(
                f"note       the section {name} ({keys}) does nothing with --engine {engine}", "dim"
            )
    if isinstance(trainer, LaunchedEngine):
        _launch(chosen, folder, trainer, launch, strict)
    elif isinstance(trainer, InProcessEngine):
        _train(chosen, folder, trainer, strict)


def _launch(
    recipe: Recipe, folder: RunFolder, engine: LaunchedEngine, launch: Launch, strict: bool
) -> None:
    from maspo.lab.console import Screen
    from maspo.lab.run.launched import launch_recipe

    launch_recipe(recipe, folder, Screen(console), engine, launch, strict=strict)


def _train(recipe: Recipe, folder: RunFolder, engine: InProcessEngine, strict: bool) -> None:
    engine.supported.check()
    quiet()
    from maspo.lab.console import Screen
    from maspo.lab.run.run import run_recipe
    from maspo.lab.run.stopping import Stopped

    try:
        path = run_recipe(recipe, folder, Screen(console), engine, strict=strict)
    except Stopped as stopped:
        say(stopped.sentence)
        raise
    except OSError as error:
        failed = unwritable(error, folder.path)
        if failed is None:
            raise
        raise failed from error
    say(f"\nrun folder {path}, report {path / 'report.html'}")


@app.command()
def plan(recipe: RecipeName = "quickstart", set_: Overrides = None) -> None:
    """Say in plain words what a recipe will do, and which golds of its data files cannot be reached."""
    from maspo.lab.checks import planned_golds
    from maspo.recipes import load_recipe
    from maspo.recipes import plan as describe

    chosen = load_recipe(recipe, set_ or [])
    for line in describe(chosen):
        say(line)
    chosen.check_evaluation()
    for sentence in planned_golds(chosen):
        say(f"warning    {sentence}")


@app.command()
def recipes() -> None:
    """List the recipes that come with the package."""
    from maspo.recipes import load_recipe, shipped_recipes

    for name in shipped_recipes():
        console.print(
            f"[bold]{name}[/bold]\n    {load_recipe(name).about.strip()}", highlight=False
        )


@app.command()
def objectives(
    name: Annotated[str | None, typer.Argument(help="Show this one with all its settings.")] = None,
    table: Annotated[bool, typer.Option(help="Write a Markdown table.")] = False,
) -> None:
    """List the objectives, or show one: equation, source, settings."""
    from maspo.cli.show import objectives_table, show_objective, show_objectives

    if table:
        typer.echo(objectives_table(), nl=False)
    elif name is None:
        show_objectives(console)
    else:
        show_objective(console, name)


@app.command()
def doctor(
    engine: Annotated[str, typer.Argument(help=f"{', '.join(ENGINES)}.")] = DEFAULT_ENGINE,
    recipe: RecipeName = "quickstart",
) -> None:
    """Check versions and devices, and prove on two tokens which objective is live."""
    from maspo.recipes import load_recipe

    trainer = engine_named(engine)
    trainer.supported.check()
    chosen = load_recipe(recipe)
    if not isinstance(trainer, LaunchedEngine):
        quiet()
    from maspo.cli.doctor import diagnose

    if not diagnose(trainer, chosen):
        raise typer.Exit(1)


app.command("eval")(evaluate.evaluate)
app.command()(evaluate.score)
app.command()(report)
app.command()(explore)
app.command()(replay)
app.command()(compare.compare)
app.command()(compare.ablate)
app.add_typer(data.data_app, name="data")


def choose_folder(out: str | None, name: str) -> RunFolder:
    """Choose the folder of a run; under several processes only the first looks whether it is free."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return RunFolder.choose(out, name, unfinished=True)
    if out is None:
        raise InputError("several processes train: give --out, so that all know the folder")
    if os.environ.get("RANK", "0") == "0":
        return RunFolder.choose(out, name, unfinished=True)
    console.quiet = True
    return RunFolder(Path(out))


def unwritable(error: OSError, folder: Path) -> RunError | None:
    """Say in one sentence that a disk is full or a folder closed; None for other errors.

    None also for what a reward function raised, which has a note that says so: those may be about any
    file or any server.
    """
    if error.errno not in WRITE_ERRORS or hasattr(error, "__notes__"):
        return None
    return RunError(
        f"{error.filename or folder} cannot be written: {error.strerror}; what is on file is whole, and "
        "the same command goes on when that is mended"
    )
