"""How many changes of a formula the tests noticed."""

from __future__ import annotations

import json
from pathlib import Path

from generate.markdown import table

LEDGER = Path(__file__).resolve().parents[1] / "mutants.json"


def table_of_files() -> str:
    """Write the changes of each file: made, noticed, and those that change nothing."""
    ledger = json.loads(LEDGER.read_text("utf-8"))
    rows = []
    for file, found in ledger["files"].items():
        same = found["mutants"] - found["killed"] - len(found["unexplained"])
        rows.append((f"`{file}`", found["mutants"], found["killed"], same or ""))
    total = [sum(int(row[place] or 0) for row in rows) for place in (1, 2, 3)]
    return table(("file", "changes", "noticed", "that change nothing"), [*rows, ("all", *total)])
