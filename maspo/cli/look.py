"""`maspo plan`, `maspo doctor` and `maspo objectives`."""

from __future__ import annotations

from typing import Annotated

import typer

from maspo.cli.options import JSON, Overrides, RecipeName, Strict
from maspo.cli.terminal import PLAN_LABEL, for_programs, print_json, quiet, say
from maspo.engines.engine import (
    DEFAULT_ENGINE,
    ENGINES,
    InProcessEngine,
    LaunchedEngine,
    engine_named,
)
from maspo.errors import InputError


def plan(
    recipe: RecipeName = "quickstart",
    set_: Overrides = None,
    strict: Strict = False,
    as_json: JSON = False,
) -> None:
    """Say what a recipe will do, ask and take, and refuse what `maspo train` would; no model is loaded."""
    from maspo.recipes import load_recipe
    from maspo.recipes import plan as describe

    for_programs(as_json)
    chosen, engine = load_recipe(recipe, set_ or []), engine_named(DEFAULT_ENGINE)
    assert isinstance(engine, InProcessEngine)
    lines = describe(chosen)
    for line in lines:
        say(line)
    engine.supported.check()
    quiet()
    from maspo.lab.forecast.look import Outlook, look_ahead

    outlook = Outlook(say, lines)
    look_ahead(chosen, engine, outlook, strict=strict)
    for sentence in outlook.refusals:
        outlook.about("refused", sentence)
    if as_json:
        told = [{"about": x[:PLAN_LABEL].strip(), "text": x[PLAN_LABEL:]} for x in outlook.lines]
        print_json({"recipe": chosen.model_dump(), "plan": told})
    if outlook.refusals:
        first, *others = outlook.refusals
        more = f"; and for {len(others)} more of the reasons above" if others else ""
        raise InputError(f"`maspo train` would refuse this recipe: {first}{more}")


def objectives(
    name: Annotated[str | None, typer.Argument(help="Show this one with all its settings.")] = None,
    equations: Annotated[bool, typer.Option("--equations", help="Show their equations.")] = False,
    as_json: JSON = False,
) -> None:
    """List the objectives, or show one: equation, source, settings."""
    from maspo.cli import show
    from maspo.objectives import OBJECTIVES

    if as_json:
        print_json(show.objectives_data(OBJECTIVES if name is None else [name]))
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
