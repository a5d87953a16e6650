"""Markdown that several pages need."""

from __future__ import annotations

from typing import Any


def table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """Write a table."""
    lines = [columns, ("---",) * len(columns), *rows]
    cells = [[" ".join(str(cell).split()).replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def percent(score: dict[str, float]) -> str:
    """Write a share with its interval."""
    return "{value:.1%} ({low:.1%} to {high:.1%})".format(**score)
