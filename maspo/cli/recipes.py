"""`maspo recipes`: those that come with the package, and what one of your own may hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from maspo.cli.options import JSON
from maspo.cli.terminal import console, print_json, say, wrapped
from maspo.errors import InputError

recipes_app = typer.Typer(
    help="List the recipes that come with the package; look at one; begin your own."
)
Shipped = Annotated[str, typer.Argument(help="A YAML file, or one of `maspo recipes`.")]


@recipes_app.callback(invoke_without_command=True)
def recipes(context: typer.Context) -> None:
    """List the recipes that come with the package; look at one; begin your own."""
    if context.invoked_subcommand is not None:
        return
    from maspo.recipes import load_recipe, shipped_recipes

    for name in shipped_recipes():
        say(name, "bold")
        wrapped(load_recipe(name).about.strip(), "    ")


@recipes_app.command("show")
def show_recipe(
    recipe: Shipped,
    full: Annotated[bool, typer.Option(help="Every key, defaults spelled out.")] = False,
) -> None:
    """Print a recipe."""
    from maspo.recipes import dump_recipe, load_recipe
    from maspo.recipes.load import recipe_path

    text = dump_recipe(load_recipe(recipe)) if full else recipe_path(recipe).read_text("utf-8")
    typer.echo(text, nl=False)


@recipes_app.command()
def new(
    path: Annotated[Path, typer.Argument(help="The file to write, as my.yaml.")],
    like: Annotated[
        str, typer.Option(help="The recipe whose values it begins with.")
    ] = "quickstart",
) -> None:
    """Write a recipe to start from: a shipped one's values, and every other key as a comment."""
    from maspo import files
    from maspo.recipes import starter
    from maspo.recipes.load import parse_recipe, read_content, recipe_path

    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"a recipe is a .yaml file, not {path}")
    if path.exists():
        raise InputError(f"{path} is there already; choose another name or remove it")
    content = {**read_content(recipe_path(like)), "name": path.stem, "about": ""}
    parse_recipe(content)
    files.write_text(path, starter(content))
    say(f"{path}: train it with maspo train {path}")


@recipes_app.command()
def schema() -> None:
    """Print the JSON Schema of recipes, for editors that complete and check YAML."""
    from maspo.recipes import json_schema

    typer.echo(json.dumps(json_schema(), indent=1))


@recipes_app.command()
def fields(as_json: JSON = False) -> None:
    """List every key of a recipe: type, default, meaning."""
    from dataclasses import asdict

    from maspo.recipes import recipe_fields

    found = recipe_fields()
    if as_json:
        print_json([asdict(one) for one in found])
        return
    for one in found:
        default = json.dumps(one.default, ensure_ascii=False)
        console.print(f"[bold]{one.key}[/bold]", end="", highlight=False)
        say(f"  {one.type}; default {default}", "dim")
        wrapped(one.meaning, "    ")
