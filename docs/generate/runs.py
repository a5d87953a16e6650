"""Training runs that pages cite, from `docs/runs.jsonl`; `scripts/record_run.py` adds to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from generate.markdown import table

ROWS = Path(__file__).resolve().parents[1] / "runs.jsonl"


def runs(recipe: str) -> list[dict[str, Any]]:
    """Return the recorded runs of a recipe, in the order in which they were recorded."""
    rows = map(json.loads, ROWS.read_text("utf-8").splitlines())
    return [row for row in rows if row["recipe"] == recipe]


def share(three: Sequence[float]) -> str:
    """Write a score with its interval."""
    return "{:.1f} % ({:.1f} to {:.1f})".format(*(100 * value for value in three))


def change(three: Sequence[float]) -> str:
    """Write a difference in points with its interval."""
    return "{:+.0f} ({:+.0f} to {:+.0f})".format(*(100 * value for value in three)).replace(
        "-", "−"
    )


def of_smollm2() -> str:
    """Write what came of SmolLM2's recipe, a row for each seed."""
    return table(
        ("seed", "avg@4 before", "after", "change", "time in all", "commit"),
        [
            (
                row["seed"],
                share(row["before"]["avg@4"]),
                share(row["after"]["avg@4"]),
                change(row["difference"]["avg@4"]),
                f"{row['total_seconds'] / 60:.0f} min",
                row["commit"][:7],
            )
            for row in runs("smollm2-sums")
        ],
    )


def of_quickstart() -> str:
    """Write what came of the quickstart, a row for each version of TRL and seed."""
    return table(
        ("TRL", "seed", "threads", "avg@8 before", "after", "change", "commit"),
        [
            (
                row["versions"]["trl"],
                row["seed"],
                row["threads"],
                share(row["before"]["avg@8"]),
                share(row["after"]["avg@8"]),
                change(row["difference"]["avg@8"]),
                row["commit"][:7],
            )
            for row in runs("quickstart")
        ],
    )
