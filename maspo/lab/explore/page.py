"""One HTML page on which a person turns the dials of objectives and sees what a token's weight does."""

from __future__ import annotations

import base64
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import maspo
from maspo.core.objective import Objective
from maspo.errors import InputError
from maspo.lab.explore import weights as table
from maspo.lab.page import render_page, write_page
from maspo.objectives import OBJECTIVES

FIRST = ("maspo", "grpo", "sapo")
"""The objectives that the page opens with."""

COUPLED = (
    "it decides about a token by the other sequences of the batch, so a single token has no weight "
    "of its own"
)


def write_explore(out: Path, progress: Callable[[str], None] = lambda name: None) -> Path:
    """Write the page to `out` and return its path; `progress` gets the name of each objective done.

    The page is one file that needs no network. Raises InputError where `out` is a folder.
    """
    if out.is_dir():
        raise InputError(f"{out} is a folder; name a file, such as {out / 'explore.html'}")
    page = render(dict(OBJECTIVES.items()), progress)
    out.parent.mkdir(parents=True, exist_ok=True)
    return write_page(out, page)


def render(
    objectives: dict[str, type[Objective]], progress: Callable[[str], None] = lambda name: None
) -> str:
    """Render the page for some objectives by name."""
    shown = {name: kind for name, kind in objectives.items() if not kind.couples_batch}
    low, high = table.Curves(), table.Curves()
    entries, index, start = [], [], 0
    for name, kind in shown.items():
        sheet = table.tabulate(kind)
        below = low.add(sheet.values[..., : table.HALF])
        above = high.add(sheet.values[..., table.HALF :])
        entries.append(_entry(name, kind, sheet) | {"start": start})
        index += [below.ravel(), above.ravel()]
        start += below.size + above.size
        progress(name)
    tables = [low.array(), high.array(), np.concatenate(index)[None]]
    data = {
        "ratios": [float(f"{x:.5g}") for x in table.RATIO_GRID],
        "probabilities": [float(f"{x:.3g}") for x in table.PROBABILITY_GRID],
        "advantages": table.ADVANTAGE_GRID.tolist(),
        "entropies": table.ENTROPY_GRID.tolist(),
        "possible": table.POSSIBLE.sum(1).tolist(),
        "tables": [[*t.shape, t.itemsize] for t in tables],
        "objectives": entries,
        "first": [name for name in FIRST if name in shown] or list(shown)[:1],
    }
    return render_page(
        "explore.html.j2",
        script="explore.js",
        data=data,
        blob=base64.b64encode(table.packed(tables)).decode(),
        left_out=[(kind.title, name) for name, kind in objectives.items() if name not in shown],
        coupled=COUPLED,
        common=table.COMMON,
        version=maspo.__version__,
    )


def _entry(name: str, kind: type[Objective], sheet: table.Sheet) -> dict[str, Any]:
    about, _, rest = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")
    equation, _, more = rest.partition("\n\n")
    return {
        "name": name,
        "title": kind.title,
        "arxiv": kind.arxiv,
        "about": about,
        "equation": equation,
        "more": more,
        "sequence": kind().outline().level != "token",
        "inert": sheet.inert,
        "dials": [
            {
                "name": dial.name,
                "symbol": dial.known.symbol,
                "doc": dial.known.doc,
                "stops": [_word(stop) for stop in dial.stops],
                "default": dial.default,
            }
            for dial in sheet.dials
        ],
        "choices": [[x for pair in choice for x in pair] for choice in sheet.choices],
        "shape": sheet.values.shape[:-1],
    }


def _word(stop: Any) -> str:
    if isinstance(stop, bool):
        return "yes" if stop else "no"
    return "none" if stop is None else stop if isinstance(stop, str) else f"{stop:g}"
