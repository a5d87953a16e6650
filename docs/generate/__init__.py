"""Pages and parts of the manual that are made of the code: nothing is written twice. Needs no MkDocs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from generate import (
    benchmarks,
    commands,
    coverage,
    defaults,
    memory,
    metrics,
    mutants,
    notebook,
    objectives,
    python_api,
    recipe,
    runs,
    studies,
    sweeps,
    versions,
)

ROOT = Path(__file__).resolve().parents[2]

PAGES: dict[str, Callable[[], str]] = {
    "reference/recipe.md": recipe.page,
    "reference/commands.md": commands.page,
    "reference/api.md": python_api.page,
    "reference/metrics.md": metrics.page,
    "reference/versions.md": versions.page,
}
"""Pages that have no file in docs/, by their place; those of the objectives come with them."""

PARTS: dict[str, Callable[[], str]] = {
    "objectives": objectives.table_of_all,
    "refused": versions.refused,
    "memory": memory.table_of_sizes,
    "memory-on-eight": memory.table_of_eight,
    "verdicts": studies.verdicts,
    "rates-at-4": partial(sweeps.sweep_of, "stale", 4),
    "rates-at-16": partial(sweeps.sweep_of, "stale", 16),
    "at-the-highest-rate": partial(sweeps.ages_of, "stale_hot"),
    "objective-defaults": defaults.of_objectives,
    "recipe-defaults": defaults.of_recipes,
    "mutants": mutants.table_of_files,
    "shared-prompts": benchmarks.shared_prompts,
    "decoding": benchmarks.decoding,
    "objective-times": benchmarks.objectives,
    "objective-times-there": partial(benchmarks.objectives, gpu="NVIDIA H200"),
    "verifier-times": benchmarks.verifier,
    "coverage": coverage.tables,
    "runs-of-quickstart": runs.of_quickstart,
    "runs-of-smollm2": runs.of_smollm2,
}
"""What stands in a page between `<!-- made: NAME -->` and `<!-- end -->`."""

FILLED = re.compile(r"(?<!`)<!-- (made|file): (.+?) -->(\n?).*?<!-- end -->", re.DOTALL)
"""A part of a page that is not written there by hand."""


def pages() -> Iterator[tuple[str, str | bytes]]:
    """Yield place and content of everything that has no file in docs/, pictures included."""
    for place, make in PAGES.items():
        yield place, make()
    yield from objectives.pages()
    yield from notebook.pages("learn/notebook.md")


def filled(page: str) -> str:
    """Return a page with its parts made anew: of the code, of recorded rows, of a file in docs/."""

    def part(found: re.Match[str]) -> str:
        kind, name, block = found.groups()
        text = (PARTS[name]() if kind == "made" else _shown(name)).strip()
        text = f"\n\n{text}\n\n" if block else text
        return f"<!-- {kind}: {name} -->{text}<!-- end -->"

    return FILLED.sub(part, page)


def _shown(place: str) -> str:
    """Return a file of docs/ as a block of code."""
    text = (ROOT / "docs" / place).read_text("utf-8")
    return f"```{Path(place).suffix.removeprefix('.').replace('py', 'python')}\n{text}```"
