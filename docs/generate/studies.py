"""How objectives did in the studies, from their results."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from generate.markdown import percent, table

STUDIES = Path(__file__).resolve().parents[1] / "studies"
FOUND = re.compile(r"a (?P<hint>hint of (?:better|worse))|(?P<shown>better|worse) in this setting")
"""Words of a race's verdict, where it is more than that no difference is shown."""
KINDS = "better", "hint of better", "no difference shown", "hint of worse", "worse"


def kind_of(verdict: str) -> str:
    """Return which of `KINDS` a race's verdict is."""
    found = FOUND.search(verdict)
    return found["hint"] or found["shown"] if found else "no difference shown"


def results() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield study, group of runs and objective of every result."""
    for file in sorted(STUDIES.glob("*/results.json")):
        for group in json.loads(file.read_text("utf-8"))["groups"]:
            for one in group["objectives"]:
                yield file.parent.name, group, one


def sentence_of(one: dict[str, Any]) -> str | None:
    """Return what a race says of an objective; the first study called it a verdict."""
    return one.get("conclusion") or one.get("verdict")


def studied(name: str) -> str:
    """List how an objective did in the studies."""
    rows = [
        (
            f"[{study}](../../studies/{study}/report.md)",
            *(group["updates_per_rollout"], group.get("staleness", 0), f"{one['learning_rate']:g}"),
            *(one["score"] and percent(one["score"]), sentence_of(one) or "the baseline"),
        )
        for study, group, one in results()
        if one["objective"].partition(":")[0] == name
    ]
    columns = "study", "updates per rollout", "staleness", "learning rate", "avg@k after"
    about = (
        "Means over seeds with 95 % intervals, on small models and small tasks; "
        "[the studies](../../studies/README.md) say what follows from them, and what does not.\n\n"
    )
    if not rows:
        return (
            "\n## In our studies\n\nNot raced yet. [Race it](../../choose/race.md) on your task.\n"
        )
    return "\n## In our studies\n\n" + about + table((*columns, "against its baseline"), rows)


def verdicts() -> str:
    """Count the verdicts on each objective."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for _, _, one in results():
        if told := sentence_of(one):
            counts[one["objective"]][kind_of(told)] += 1
    rows = [
        (f"`{name}`", *(found[kind] or "" for kind in KINDS))
        for name, found in sorted(counts.items())
    ]
    return table(("objective", *KINDS), rows)
