"""The folder of a run: what is written where."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from maspo.errors import InputError

TEMPORARY = ".tmp"
"""Ending of a file that is being written."""


class RunFolder:
    """A folder that holds one run and nothing else.

    recipe.yaml, provenance.json, metrics.jsonl, samples/before.jsonl, samples/after.jsonl,
    summary.json, model/, plots/ and report.html; JSON holds null where a number is not finite.
    Until the run is finished there is a file more, which says what run it is.
    """

    UNFINISHED = "unfinished.json"

    def __init__(self, path: Path) -> None:
        """Point at `path`, which need not exist."""
        self.path = path

    @classmethod
    def choose(cls, out: str | None, name: str, *, unfinished: bool = False) -> RunFolder:
        """Take the folder `out`, or one named after the recipe and the time; InputError if it is used.

        With `unfinished` one that holds an unfinished run may be taken.
        """
        path = Path(out) if out else Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        if path.exists() and not cls._usable(path, unfinished):
            raise InputError(f"{path} already holds something; choose another --out or remove it")
        return cls(path)

    @classmethod
    def _usable(cls, path: Path, unfinished: bool) -> bool:
        if not path.is_dir():
            return False
        # A process that is killed as it begins leaves these two.
        left = {"samples", cls.UNFINISHED + TEMPORARY}
        names = {entry.name for entry in path.iterdir()}
        return (unfinished and cls.UNFINISHED in names) or names <= left

    def create(self) -> None:
        """Make the folder; InputError where that is impossible."""
        try:
            (self.path / "samples").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.path} cannot be made: {error.strerror}") from None

    def write_text(self, name: str, text: str) -> None:
        """Write a file whole: a process that is killed leaves the old one or the new one."""
        self.write_bytes(name, text.encode("utf-8", "backslashreplace"))

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file whole in the same way."""
        temporary = self.path / (name + TEMPORARY)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path / name)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def write_folder(self, name: str, *writers: Callable[[Path], Any]) -> None:
        """Have a folder filled, and give it its name when that is done."""
        temporary, place = self.path / (name + TEMPORARY), self.path / name
        for one in (temporary, place):
            shutil.rmtree(one, ignore_errors=True)
        temporary.mkdir()
        for write in writers:
            write(temporary)
        temporary.rename(place)

    def read_lines(self, name: str) -> list[dict[str, Any]]:
        """Read a JSONL file."""
        content = (self.path / name).read_bytes()
        return [json.loads(line) for line in content.split(b"\n") if line]

    def finish(self) -> None:
        """Mark the run as finished."""
        (self.path / self.UNFINISHED).unlink()

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as indented JSON."""
        self.write_text(name, json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")

    def write_lines(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows to a JSONL file, for good."""
        with (self.path / name).open("ab") as file:
            file.write(encoded(rows))
            file.flush()
            os.fsync(file.fileno())

    def write_whole_lines(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Write a JSONL file whole."""
        self.write_bytes(name, encoded(rows))


def encoded(rows: Iterable[dict[str, Any]]) -> bytes:
    """Write rows as lines of JSON; a lone surrogate in a text becomes its escape."""
    lines = (json.dumps(plain(row), ensure_ascii=False) + "\n" for row in rows)
    return "".join(lines).encode("utf-8", "backslashreplace")


def plain(value: Any) -> Any:
    """Replace numbers that JSON does not have, NaN and infinity, by None, at any depth."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
