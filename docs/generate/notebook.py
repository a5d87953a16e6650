"""A notebook, run from top to bottom; its outputs are those of the run and are stored nowhere."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

LEARN = Path(__file__).resolve().parents[1] / "learn"


class Cell(NamedTuple):
    """A cell and what it did."""

    kind: str
    text: str
    printed: str = ""
    pictures: tuple[bytes, ...] = ()


def run(path: Path) -> Iterator[Cell]:
    """Yield the cells of a notebook, each run after the last one in an empty folder."""
    import matplotlib

    matplotlib.use("Agg", force=True)
    names: dict[str, Any] = {"__name__": "__notebook__"}
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        try:
            os.chdir(folder)
            for cell in json.loads(path.read_text("utf-8"))["cells"]:
                kind, text = cell["cell_type"], "".join(cell["source"])
                yield _carry_out(text, names) if kind == "code" else Cell(kind, text)
        finally:
            os.chdir(here)


def _carry_out(text: str, names: dict[str, Any]) -> Cell:
    import matplotlib.pyplot as plt

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the frameworks, and of a picture that no window shows
        exec(compile(text, "<cell>", "exec"), names)
    pictures = []
    for number in plt.get_fignums():
        drawn = io.BytesIO()
        looks: dict[str, Any] = {"dpi": 110, "bbox_inches": "tight", "metadata": {"Software": None}}
        plt.figure(number).savefig(drawn, format="png", **looks)
        pictures.append(drawn.getvalue())
    plt.close("all")
    return Cell("code", text, printed.getvalue(), tuple(pictures))


def pages(place: str) -> Iterator[tuple[str, str | bytes]]:
    """Yield the page of a notebook, without the lines that trainers print, and its pictures."""
    name = Path(place).stem
    text, count = "", 0
    for cell in run(LEARN / f"{name}.ipynb"):
        if cell.kind == "markdown":
            text += f"{cell.text}\n\n"
            continue
        text += f"```python\n{cell.text}\n```\n\n"
        said = [line for line in cell.printed.splitlines() if not line.startswith("{")]
        if said:
            text += "```text\n" + "\n".join(said) + "\n```\n\n"
        for picture in cell.pictures:
            count += 1
            yield f"learn/{name}-{count}.png", picture
            text += f"![What the cell draws]({name}-{count}.png)\n\n"
    text = text.replace("\n\n", f"\n\n[This page as a notebook]({name}.ipynb).\n\n", 1)
    yield place, text
