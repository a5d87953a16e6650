"""`maspo plan`, `maspo doctor` and `maspo objectives`."""

from __future__ import annotations

from typing import Annotated

import typer

from maspo.cli.options import JSON, Overrides, RecipeName
from maspo.cli.terminal import PLAN_LABEL, for_programs, print_json, quiet, say
from maspo.engines.engine import DEFAULT_ENGINE, ENGINES, LaunchedEngine, engine_named


def plan(recipe: RecipeName = "quickstart", set_: Overrides = None, as_json: JSON = False) -> None:
    """Say in plain words what a recipe will do, and which golds of its data files cannot be reached."""
    from maspo.lab.checks import planned_golds
    from maspo.recipes import load_recipe
    from maspo.recipes import plan as describe

    for_programs(as_json)
    chosen = load_recipe(recipe, set_ or [])
    lines = describe(chosen)
    for line in lines:
        say(line)
    chosen.check_evaluation()
    golds = [f"warning    {sentence}" for sentence in planned_golds(chosen)]
    for line in golds:
        say(line)
    if as_json:
        told = [{"about": x[:PLAN_LABEL].strip(), "text": x[PLAN_LABEL:]} for x in (*lines, *golds)]
        print_json({"recipe": chosen.model_dump(), "plan": told})


def objectives(
    name: Annotated[str | None, typer.Argument(help="Show this one with all its settings.")] = None,
    equations: Annotated[bool, typer.Option("--equations", help="Show their equations.")] = False,
    table: Annotated[bool, typer.Option("--table", help="Write a Markdown table.")] = False,
    as_json: JSON = False,
) -> None:
    """List the objectives, or show one: equation, source, settings."""
    from maspo.cli import show
    from maspo.objectives import OBJECTIVES

    if as_json:
        print_json(show.objectives_data(OBJECTIVES if name is None else [name]))
    elif table:
        typer.echo(show.objectives_table(), nl=False)
    elif name is not None:
        show.show_objective(name)
    elif equations:
        show.show_objectives()
    else:
        show.list_objectives()


def doctor(
    engine: Annotated[str, typer.Argument(help=f"{', '.join(ENGINES)}.")] = DEFAULT_ENGINE,
    recipe: RecipeName = "quickstart",
    as_json: JSON = False,
) -> None:
    """Check versions and devices, and prove on two tokens which objective is live."""
    from maspo.recipes import load_recipe

    for_programs(as_json)
    trainer = engine_named(engine)
    trainer.supported.check()
    chosen = load_recipe(recipe)
    if not isinstance(trainer, LaunchedEngine):
        quiet()
    from maspo.cli.doctor import diagnose, show_diagnosis

    found = diagnose(trainer, chosen)
    show_diagnosis(found)
    if as_json:
        print_json(found)
    if not found["healthy"]:
        raise typer.Exit(1)
