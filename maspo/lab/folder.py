"""The folder of a run: what is written where."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from maspo.errors import InputError


class RunFolder:
    """A folder that holds one run and nothing else.

    recipe.yaml, provenance.json, metrics.jsonl, samples/before.jsonl, samples/after.jsonl,
    summary.json, model/, plots/ and report.html; JSON holds null where a number is not finite.
    """

    def __init__(self, path: Path) -> None:
        """Point at `path`, which need not exist."""
        self.path = path

    @classmethod
    def choose(cls, out: str | None, name: str) -> RunFolder:
        """Take the folder `out`, or one named after the recipe and the time; InputError if it is used."""
        path = Path(out) if out else Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(f"{path} already holds something; choose another --out or remove it")
        return cls(path)

    def create(self) -> None:
        """Make the folder."""
        (self.path / "samples").mkdir(parents=True, exist_ok=True)

    def write_text(self, name: str, text: str) -> None:
        """Write a file whole."""
        (self.path / name).write_text(text, encoding="utf-8")

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as indented JSON."""
        self.write_text(name, json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")

    def write_lines(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows to a JSONL file, each line whole."""
        with (self.path / name).open("a", encoding="utf-8", errors="backslashreplace") as file:
            for row in rows:
                file.write(json.dumps(plain(row), ensure_ascii=False) + "\n")


def plain(value: Any) -> Any:
    """Replace numbers that JSON does not have, NaN and infinity, by None, at any depth."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
