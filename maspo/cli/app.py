"""The commands."""

from __future__ import annotations

from typing import Annotated

import typer

from maspo.cli import compare, data, evaluate
from maspo.cli.explore import explore
from maspo.cli.options import Overrides, RecipeName
from maspo.cli.recipes import recipes_app
from maspo.cli.replay import replay
from maspo.cli.report import report
from maspo.cli.terminal import console, quiet, say
from maspo.cli.train import resume, train
from maspo.engines.engine import DEFAULT_ENGINE, ENGINES, LaunchedEngine, engine_named

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="MASPO and its rivals: train language models with verifiable rewards, and see what it did.",
)
app.command()(train)
app.command()(resume)


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
app.add_typer(recipes_app, name="recipes")
