"""`maspo train` and `maspo resume`."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maspo.cli.options import EngineName, Overrides, RecipeName, Strict, launches
from maspo.cli.terminal import console, quiet, say
from maspo.engines.engine import (
    DEFAULT_ENGINE,
    ENGINES,
    Engine,
    InProcessEngine,
    Launch,
    LaunchedEngine,
    engine_named,
)
from maspo.errors import InputError, RunError
from maspo.lab.run.folder import RunFolder
from maspo.lab.run.stopping import Stopped

if TYPE_CHECKING:
    from maspo.recipes.schema import Recipe

GPUs = Annotated[
    int | None,
    typer.Option(help="Train on N GPUs of this machine, a process each; without it on one."),
]
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


@launches
def train(
    recipe: RecipeName = "quickstart",
    set_: Overrides = None,
    out: Annotated[
        str | None, typer.Option(help="Folder of the run: new, empty, or with this run unfinished.")
    ] = None,
    strict: Strict = False,
    engine: EngineName = DEFAULT_ENGINE,
    gpus: GPUs = None,
    *,
    launch: Launch,
) -> None:
    """Evaluate, train, evaluate again; without arguments the quickstart, on any computer."""
    from maspo.recipes import load_recipe

    trainer = engine_named(engine)
    launch.check(trainer)
    chosen = load_recipe(recipe, set_ or [])
    launched = isinstance(trainer, LaunchedEngine)
    folder = choose_folder(out, chosen.name)
    if launched and gpus is not None:
        raise InputError("--gpus is for --engine trl; with verl it is --gpus-per-node")
    if not launched:
        options = [word for item in set_ or [] for word in ("--set", item)]
        options += ["--strict"] * strict
        _on_gpus(gpus, ["train", recipe, *options, "--out", str(folder.path)])
    _introduce(chosen, folder, trainer, launch)
    if isinstance(trainer, LaunchedEngine):
        _launch(chosen, folder, trainer, launch, strict)
    elif isinstance(trainer, InProcessEngine):
        _train(chosen, folder, trainer, strict)


def resume(
    run: Annotated[Path, typer.Argument(help="Folder of a run of `maspo train`.")],
    rollouts: Annotated[
        str | None,
        typer.Option(metavar="+N", help="Train N rollouts more; without the +, N in all."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change training.learning_rate from here on, or a key that leaves results alone.",
        ),
    ] = None,
    strict: Strict = False,
    gpus: GPUs = None,
) -> None:
    """Go on with an unfinished run, or train a finished one further; what changes is recorded."""
    from maspo.lab.run.extend import continuation
    from maspo.lab.run.launched import launched_with

    folder = RunFolder(run)
    trainer, launch = launched_with(folder) or (engine_named(DEFAULT_ENGINE), Launch())
    assert isinstance(trainer, InProcessEngine | LaunchedEngine)
    if os.environ.get("RANK", "0") != "0":
        console.quiet = True
    found = continuation(folder, trainer, set_ or [], rollouts)
    launched = isinstance(trainer, LaunchedEngine)
    if launched and gpus is not None:
        raise InputError("--gpus is for a run of --engine trl")
    options = [] if rollouts is None else ["--rollouts", rollouts]
    options += [word for item in set_ or [] for word in ("--set", item)]
    if not launched:
        _on_gpus(gpus, ["resume", str(run), *options, *["--strict"] * strict])
    _introduce(found.recipe, folder, trainer, launch)
    for sentence in found.news:
        say(f"change     {sentence}")
    if isinstance(trainer, LaunchedEngine):
        _launch(found.recipe, folder, trainer, launch, strict, resumed=True)
    else:
        _train(found.recipe, folder, trainer, strict, resumed=options)


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run of `maspo train --engine verl`.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the model; without it RUN/model.")
    ] = None,
) -> None:
    """Write the newest checkpoint of a run, finished or not, as a model that `maspo eval` takes."""
    from maspo.lab.run.export import export_model

    place, rollouts = export_model(RunFolder(run), out)
    say(f"the model after {rollouts} rollouts is in {place}")


def _on_gpus(gpus: int | None, words: list[str]) -> None:
    from maspo.cli.gpus import replace_process, settle_gpus

    command = settle_gpus(gpus, words)
    if command is not None:
        replace_process(command)


def _introduce(recipe: Recipe, folder: RunFolder, engine: Engine, launch: Launch) -> None:
    """Print where the run is, what it will do, and what of the recipe does nothing."""
    from maspo.recipes import plan

    say(f"folder     {folder.path}")
    for line in plan(recipe, engine.shares(recipe, launch)):
        say(line, "dim")
    for line in engine.unused(recipe, launch):
        say(f"warning    {line}", "dim")
    for name in ENGINES:
        if name != engine.name and getattr(recipe, name):
            keys = ", ".join(getattr(recipe, name))
            said = (
                f"note       the section {name} ({keys}) does nothing with --engine {engine.name}"
            )
            say(said, "dim")


def _launch(
    recipe: Recipe,
    folder: RunFolder,
    engine: LaunchedEngine,
    launch: Launch,
    strict: bool,
    *,
    resumed: bool = False,
) -> None:
    from maspo.lab.console import Screen
    from maspo.lab.run.launched import launch_recipe

    screen = Screen(console)
    try:
        launch_recipe(recipe, folder, screen, engine, launch, strict=strict, resumed=resumed)
    except Stopped as stopped:
        on = "; the job goes on, see `ray job list`" if launch.submit else ""
        say(f"{stopped.sentence}{on}; {_way_on(folder, recipe, [] if resumed else None)}")
        raise
    if not launch.dry_run:
        say(f"\nrun folder {folder.path}, report {folder.path / 'report.html'}")


def _train(
    recipe: Recipe,
    folder: RunFolder,
    engine: InProcessEngine,
    strict: bool,
    *,
    resumed: Sequence[str] | None = None,
) -> None:
    """Carry out a recipe; `resumed` are the options of a `maspo resume` which asked for it."""
    from maspo.lab.run.tracker import place_files

    place_files(recipe, folder.path)
    engine.supported.check()
    quiet()
    from maspo.lab.console import Screen
    from maspo.lab.run.run import run_recipe

    screen = Screen(console)
    try:
        path = run_recipe(
            recipe, folder, screen, engine, strict=strict, resumed=resumed is not None
        )
    except Stopped as stopped:
        say(f"{stopped.sentence}; {_way_on(folder, recipe, resumed) or 'nothing was written'}")
        raise
    except OSError as error:
        failed = unwritable(error, folder, _way_on(folder, recipe, resumed))
        if failed is None:
            raise
        raise failed from error
    say(f"\nrun folder {path}, report {path / 'report.html'}")


def _way_on(folder: RunFolder, recipe: Recipe, options: Sequence[str] | None) -> str:
    """Say how a run that ended early goes on; nothing where there is none yet.

    `options` of a resume are said again until what they change is written down.
    """
    from maspo.lab.run.extend import changes_of
    from maspo.recipes import load_recipe

    if not folder.unfinished and options is None:
        return ""
    pending = options and changes_of(load_recipe(str(folder.path / "recipe.yaml")), recipe)
    launcher = ", under the same launcher" if os.environ.get("WORLD_SIZE", "1") != "1" else ""
    return f"go on{launcher} with: {folder.resume_command(*(options or ()) if pending else ())}"


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


def unwritable(error: OSError, folder: RunFolder, way_on: str) -> RunError | None:
    """Say in one sentence that a disk is full or a folder closed; None for other errors.

    None also for what a reward function raised, which has a note that says so: those may be about any
    file or any server.
    """
    if error.errno not in WRITE_ERRORS or hasattr(error, "__notes__"):
        return None
    return RunError(
        f"{error.filename or folder.path} cannot be written: {error.strerror}; what is on file is whole; "
        f"when that is mended, {way_on or 'start again'}"
    )
