"""Scores of a race at every learning rate, from its results."""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import fmean
from typing import Any

from generate.markdown import table
from generate.studies import STUDIES


def sweep_of(study: str, staleness: int) -> Callable[[], str]:
    """Return what writes the table of a race under one staleness: mean scores, best value, tolerance."""

    def write() -> str:
        found = json.loads((STUDIES / study / "results.json").read_text("utf-8"))
        (group,) = (one for one in found["groups"] if one["staleness"] == staleness)
        rates = found["plan"]["sweep"]
        columns = ("objective", *map(rate, rates), "best", "tolerance", "against GRPO's")
        return table(columns, [_row(one) for one in group["sweep"]])

    return write


def rate(value: float) -> str:
    """Write a learning rate as the command line has it."""
    return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-")


def factor(found: dict[str, Any] | None) -> str:
    """Write a factor on the learning rate, with its interval."""
    if found is None:
        return ""
    text = f"{found['bound']} {found['value']:.1f}".strip()
    return text if found["low"] is None else f"{text} ({found['low']:.1f} to {found['high']:.1f})"


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    means = [100 * fmean(scores) for scores in zip(*one["scores"].values(), strict=True)]
    best = f"{max(means):.1f} at {rate(one['best_rate'])}"
    return (
        f"`{one['label']}`",
        *(f"{mean:.1f}" for mean in means),
        best,
        factor(one["tolerance"]),
        factor(one["against"]),
    )
