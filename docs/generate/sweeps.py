"""Scores of a race at every learning rate, from its results."""

from __future__ import annotations

import json
from statistics import fmean
from typing import Any

from generate.markdown import table
from generate.studies import STUDIES


def sweep_of(study: str, staleness: int) -> str:
    """Write the table of a race under one staleness: mean scores, best value, tolerance."""
    found = json.loads((STUDIES / study / "results.json").read_text("utf-8"))
    (group,) = (one for one in found["groups"] if one["staleness"] == staleness)
    columns = ("objective", *map(rate, found["plan"]["sweep"]), "tolerance", "against GRPO's")
    return table(columns, [_row(one) for one in group["sweep"]])


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
    cells = [f"**{mean:.1f}**" if mean == max(means) else f"{mean:.1f}" for mean in means]
    return f"`{one['label']}`", *cells, factor(one["tolerance"]), factor(one["against"])
