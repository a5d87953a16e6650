"""Scores of races on stale data, from their results: at every learning rate, or at one."""

from __future__ import annotations

import json
from statistics import fmean
from typing import Any

from generate.markdown import table
from generate.studies import STUDIES


def sweep_of(study: str, staleness: int) -> str:
    """Write the table of a race under one staleness: mean scores, best value, tolerance."""
    found = _results(study)
    (group,) = (one for one in found["groups"] if one["staleness"] == staleness)
    columns = ("objective", *map(rate, found["plan"]["sweep"]), "tolerance", "against GRPO's")
    return table(columns, [_row(one) for one in group["sweep"]])


def ages_of(study: str) -> str:
    """Write the table of a race at one learning rate: the score under each staleness, and the difference."""
    groups = _results(study)["groups"]
    baseline = groups[0]["objectives"][0]["objective"]
    heads = ((f"{one['staleness']} rollouts old", f"against `{baseline}`") for one in groups)
    rows = [
        (f"`{lines[0]['objective']}`", *(cell for line in lines for cell in _scored(line)))
        for lines in zip(*(one["objectives"] for one in groups), strict=True)
    ]
    return table(("objective", *(head for pair in heads for head in pair)), rows)


def rate(value: float) -> str:
    """Write a learning rate as the command line has it."""
    return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-")


def factor(found: dict[str, Any] | None) -> str:
    """Write a factor on the learning rate, with its interval."""
    if found is None:
        return ""
    text = f"{found['bound']} {found['value']:.1f}".strip()
    return text if found["low"] is None else f"{text} ({found['low']:.1f} to {found['high']:.1f})"


def _results(study: str) -> dict[str, Any]:
    return json.loads((STUDIES / study / "results.json").read_text("utf-8"))


def _scored(line: dict[str, Any]) -> tuple[str, str]:
    against = line["against_baseline"]
    ends = (against["difference"][end] for end in ("value", "low", "high")) if against else ()
    told = [f"{100 * end:+.1f}".replace("-", "−") for end in ends]
    change = f"{told[0]} ({told[1]} to {told[2]})" if told else ""
    return f"{100 * line['score']['value']:.1f}", change


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    means = [100 * fmean(scores) for scores in zip(*one["scores"].values(), strict=True)]
    cells = [f"**{mean:.1f}**" if mean == max(means) else f"{mean:.1f}" for mean in means]
    return f"`{one['label']}`", *cells, factor(one["tolerance"]), factor(one["against"])
