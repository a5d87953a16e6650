"""How often intervals hold the truth, from `docs/coverage.jsonl`, which `scripts/coverage.py` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from generate.markdown import table

ROWS = Path(__file__).resolve().parents[1] / "coverage.jsonl"
FOUND = {"coverage": "{:.3f}", "width": "{:.3f}", "width 0": "{:.2f}"}


def rows(kind: str) -> list[dict[str, Any]]:
    """Return the settings of problems, differences or runs."""
    found = map(json.loads, ROWS.read_text("utf-8").splitlines())
    return [row for row in found if row["of"] == kind]


def _table(kind: str) -> str:
    settings = tuple(name for name in rows(kind)[0] if name != "of" and name not in FOUND)
    lines = [
        (
            *(row[name] for name in settings),
            *(form.format(row[name]) for name, form in FOUND.items()),
        )
        for row in rows(kind)
    ]
    return table((*settings, *FOUND), lines)


def tables() -> str:
    """Write a table of scores of problems, one of differences and one of runs."""
    held = [row for kind in ("problems", "differences", "runs") for row in rows(kind)]
    least = min(row["coverage"] for row in held if row.get("scores") != "uniform")
    made = "\n".join(map(_table, ("problems", "differences", "runs")))
    return (
        f"{made}\nThe least coverage is {least:.3f}, uniform scores of runs left out, which Student's t does "
        "not suit.\n"
    )
