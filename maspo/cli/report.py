"""`maspo report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maspo.errors import InputError

if TYPE_CHECKING:
    from maspo.lab.race.folder import RaceFolder


def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Folders of `maspo eval` or `maspo train`; NAME=FOLDER names a row. Or one of `maspo "
            "compare`: its report is made anew, as far as the race has come.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for report.md, report.tex, report.html.")
    ] = Path("report"),
    reference: Annotated[
        str | None,
        typer.Option(
            help="Add what was published for this model: 1.5b, 7b, 14b by the authors, 4b, 8b by others."
        ),
    ] = None,
) -> None:
    """Put evaluations side by side: a table with intervals, Pass@k curves, paired differences."""
    from maspo.lab.race.folder import RaceFolder

    races = [folder for folder in map(RaceFolder, map(Path, runs)) if folder.begun]
    if races:
        _report_race(races[0], alone=len(runs) == 1 and reference is None)
    else:
        _report_runs(runs, out, reference)


def _report_race(folder: RaceFolder, *, alone: bool) -> None:
    from maspo.cli.compare import show_race
    from maspo.lab.race.report import write_race

    if not alone:
        raise InputError(f"{folder.path} is a race, which is reported alone, into its own folder")
    show_race(write_race(folder), folder)


def _report_runs(runs: list[str], out: Path, reference: str | None) -> None:
    from maspo.lab.scores.comparison import compare_runs
    from maspo.lab.scores.load import load_runs
    from maspo.lab.scores.published import published
    from maspo.lab.scores.report import write_comparison
    from maspo.lab.scores.tables import comparison_markdown

    known = None if reference is None else published(reference)
    comparison = compare_runs(load_runs(runs), known)
    written = write_comparison(comparison, out)
    typer.echo(comparison_markdown(comparison))
    typer.echo(f"written: {', '.join(map(str, written))}")
