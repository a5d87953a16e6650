"""The overlap of a training set with benchmarks, shown and written down."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from maspo import files
from maspo.data import load_problems, sources
from maspo.data.overlap import Overlap, overlap
from maspo.errors import InputError
from maspo.evaluation.benchmarks import load_benchmarks

_LISTED = 8  # ids shown in the terminal


def find(train: str, benchmarks: Sequence[str], data: Path | None) -> dict[str, Overlap]:
    """Load a training set and benchmarks, and find these in that; InputError as their loaders."""
    wanted = load_benchmarks(benchmarks, data=data)
    return overlap(load_problems(train), wanted)


def show(console: Console, found: Mapping[str, Overlap]) -> None:
    """Print the counts and the first ids of each benchmark."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("benchmark", "problems", "exact", "13-gram", "ids"):
        table.add_column(name, justify="left" if name in ("benchmark", "ids") else "right")
    for name, one in found.items():
        ids = [match.problem_id for match in one.matches]
        more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
        counts = one.problems, len(one.exact), len(one.half)
        table.add_row(name, *map(str, counts), ", ".join(ids[:_LISTED]) + more)
    console.print(table)
    console.print(
        "exact: the same text but for layout; 13-gram: at least half of the problem's windows of 13 "
        "tokens are in the training set, problems of one template with other numbers included.",
        style="dim",
        highlight=False,
    )


def write_matches(path: Path, train: str, found: Mapping[str, Overlap]) -> None:
    """Write every match as JSON: problem id, exact or not, share of windows, training ids."""
    content = {
        "train": train,
        "benchmarks": {
            name: {
                "problems": one.problems,
                "exact": one.exact,
                "half_of_13_grams": one.half,
                "matches": [asdict(match) for match in one.matches],
            }
            for name, one in found.items()
        },
    }
    files.write_json(path, content)


def write_clean(path: Path, train: str, found: Mapping[str, Overlap]) -> tuple[int, int]:
    """Write the rows of a training file without those that hold a problem of a benchmark.

    A row goes if it is a problem word for word or holds half of its windows by itself; what only
    several rows together hold stays. Returns the number of rows kept and left out. Raises
    InputError where `train` is no file.
    """
    if not sources.is_file(train):
        raise InputError(f"--clean needs a local training file, not {train!r}")
    gone = {i for one in found.values() for match in one.matches for i in match.train_ids}
    rows = sources.read_file(Path(train))
    ids = [problem.id for problem in load_problems(train)]
    kept = [row for row, identifier in zip(rows, ids, strict=True) if identifier not in gone]
    # default=str: decimals and dates, which JSON does not have.
    lines = (json.dumps(row, ensure_ascii=False, default=str) for row in kept)
    files.write_text(path, "".join(f"{line}\n" for line in lines))
    return len(kept), len(rows) - len(kept)
