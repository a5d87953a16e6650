"""A run that the framework carries out by itself, evaluations included, as a command of its own."""

from __future__ import annotations

import subprocess

from maspo import files
from maspo.engines.engine import Launch, LaunchedEngine
from maspo.errors import RunError
from maspo.lab.console import Screen
from maspo.lab.run.folder import RunFolder
from maspo.recipes import Recipe, dump_recipe


def launch_recipe(
    recipe: Recipe,
    folder: RunFolder,
    screen: Screen,
    engine: LaunchedEngine,
    launch: Launch,
    *,
    strict: bool = False,
) -> None:
    """Check the recipe, print the command in full, and run it; a dry run ends before that.

    Raises InputError for what a user can get wrong, before anything is written, and RunError where
    the command fails.
    """

    def say(line: str, style: str | None = "dim") -> None:
        screen.console.print(line, style=style, highlight=False, markup=False, soft_wrap=True)

    engine.check(recipe, launch, folder.path, strict=strict)
    words = engine.command(recipe, launch, folder.path)
    say(engine.printed(words), None)
    if launch.dry_run:
        say(f"checked by {engine.supported.title}; it would train {recipe.make_objective()}")
        return
    engine.provide(recipe, launch, folder.path)
    folder.create()
    files.write_text(folder.path / "recipe.yaml", dump_recipe(recipe))
    files.write_text(folder.path / "command.sh", engine.printed(words) + "\n")
    code = subprocess.run(words, check=False).returncode
    if code:
        raise RunError(
            f"{engine.supported.title} ended with exit code {code}; what it said is above"
        )
