"""`maspo data`: what is in a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maspo.cli.options import Overrides, RecipeName
from maspo.cli.terminal import console

data_app = typer.Typer(no_args_is_help=True, help="Look at data sets.")


@data_app.command()
def overlap(
    train: Annotated[str, typer.Argument(help="The training set: a file or a hub id owner/name.")],
    benchmarks: Annotated[
        list[str], typer.Argument(metavar="BENCH...", help="Names of benchmarks, or own files.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of benchmark files; without it they come from the hub."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write every match with its ids as JSON.")
    ] = None,
    clean: Annotated[
        Path | None,
        typer.Option(help="Write the training rows without those that hold a benchmark problem."),
    ] = None,
) -> None:
    """Find benchmark problems in a training set: word for word, and by shared 13-token windows."""
    from maspo.lab.scores.overlap import find, show, write_clean, write_matches

    found = find(train, benchmarks, data)
    show(console, found)
    if out is not None:
        write_matches(out, train, found)
    if clean is not None:
        kept, left_out = write_clean(clean, train, found)
        console.print(f"{clean}: {kept} rows kept, {left_out} left out", highlight=False)


@data_app.command("to-verl")
def to_verl(
    recipe: RecipeName,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the two files.")],
    set_: Overrides = None,
) -> None:
    """Write the problems of a recipe as verl reads them: train.parquet and test.parquet."""
    from maspo.engines.verl.export import write_problems
    from maspo.recipes import load_recipe

    for path, count in write_problems(load_recipe(recipe, set_ or []), out).items():
        console.print(f"{path}: {count} problems", highlight=False, soft_wrap=True)
