"""What was tried by hand and can be measured again: rows of `docs/tried.jsonl`."""

import json

from pages import DOCS


def tried(what):
    """Return the values of a row."""
    rows = map(json.loads, (DOCS / "tried.jsonl").read_text("utf-8").splitlines())
    (row,) = (row for row in rows if row["what"] == what)
    return row["values"]
