"""`maspo explore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maspo.cli.terminal import console


def explore(
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write.")] = Path(
        "explore.html"
    ),
) -> None:
    """Write a page on which to turn the dials of objectives and see a token's weight."""
    from maspo.lab.explore.page import write_explore

    with console.status("computing") as status:
        path = write_explore(out, lambda name: status.update(f"computing: {name} is done"))
    console.print(f"{path}: open it in a browser; it needs no network", highlight=False)
