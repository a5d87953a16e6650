"""Objectives on the terminal, from their own docstrings and settings."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable
from typing import Any

from rich.table import Table

from maspo.cli.terminal import console, say
from maspo.core.advantages import DEFAULT_ADVANTAGES
from maspo.core.reduction import DEFAULT_REDUCTION
from maspo.core.settings import settings_of
from maspo.errors import unknown
from maspo.objectives import OBJECTIVES


def list_objectives() -> None:
    """List every objective in a line: name, what it is, source."""
    room = max(map(len, OBJECTIVES)) + 2
    for name, kind in OBJECTIVES.items():
        first = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
        text = f"{name:<{room}}{first} arXiv:{kind.arxiv}"
        say(
            textwrap.fill(text, console.width, subsequent_indent=" " * room, break_on_hyphens=False)
        )


def objectives_data(names: Iterable[str]) -> list[dict[str, Any]]:
    """Describe objectives as plain data, settings with their defaults."""
    found = []
    for name in names:
        if name not in OBJECTIVES:
            raise unknown("objective", name, OBJECTIVES)
        kind = OBJECTIVES[name]
        first, _, rest = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")
        settings = {
            field.name: {"symbol": known.symbol, "default": field.default, "meaning": known.doc}
            for field, known in settings_of(kind)
        }
        found.append(
            {
                "name": name,
                "about": first.replace("\n", " "),
                "equation": rest.partition("\n\n")[0],
                "arxiv": kind.arxiv,
                "advantages": kind.advantages or DEFAULT_ADVANTAGES,
                "reduction": kind.reduction or DEFAULT_REDUCTION,
                "settings": settings,
            }
        )
    return found


def show_objectives() -> None:
    """List every objective with its equation and source."""
    for name, kind in OBJECTIVES.items():
        first, _, rest = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")
        equation = rest.partition("\n\n")[0]
        console.print(
            f"[bold]{name}[/bold]  {first}  [dim]arXiv:{kind.arxiv}[/dim]",
            highlight=False,
            soft_wrap=True,
        )
        console.print(equation + "\n", highlight=False, markup=False, soft_wrap=True)


def show_objective(name: str) -> None:
    """Show one objective: docstring, then every setting with symbol, default, range and meaning."""
    if name not in OBJECTIVES:
        raise unknown("objective", name, OBJECTIVES)
    kind = OBJECTIVES[name]
    console.print(f"[bold]{name}[/bold]  https://arxiv.org/abs/{kind.arxiv}\n", highlight=False)
    console.print(
        inspect.cleandoc(kind.__doc__ or ""), highlight=False, markup=False, soft_wrap=True
    )
    console.print(
        f"\nrecipes that name no other take advantages {kind.advantages or DEFAULT_ADVANTAGES}, "
        f"reduction {kind.reduction or DEFAULT_REDUCTION}",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("setting", "symbol", "default", "allowed", "meaning"):
        table.add_column(column, overflow="fold")
    for field, known in settings_of(kind):
        choices = "true or false" if isinstance(field.default, bool) else known.span
        table.add_row(field.name, known.symbol, str(field.default).lower(), choices, known.doc)
    console.print()
    console.print(table)
