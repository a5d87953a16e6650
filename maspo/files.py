"""Files on disk: written whole or not at all, JSON, JSON lines, and locks.

Every product of the lab goes through here, so that what a killed process, a full disk or a lost
power supply leaves behind is the old file or the new one.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maspo.errors import InputError

TEMPORARY = ".tmp"
"""Ending of a file or folder that is being written."""

LOCK = ".lock"
"""File by which one process claims a folder; it stays when the claim ends."""


# --- writing -----------------------------------------------------------------------------------


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole and durably: a reader, or a killed writer, finds the old one or the new one."""
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, in UTF-8; a lone surrogate becomes its escape."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write a value whole, as indented JSON; null stands where a number is not finite."""
    write_text(path, json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a file of JSON lines whole."""
    write_bytes(path, b"".join(map(encoded, rows)))


def append_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append to a file of JSON lines, durably."""
    with path.open("ab") as file:
        file.write(b"".join(map(encoded, rows)))
        file.flush()
        os.fsync(file.fileno())


def write_folder(place: Path, *writers: Callable[[Path], Any]) -> None:
    """Have a folder filled, make it durable, and only then give it its name.

    Each of `writers` is called with the folder to write into. A folder that has the name is replaced.
    """
    temporary = place.with_name(place.name + TEMPORARY)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    for write in writers:
        write(temporary)
    for one in (*temporary.rglob("*"), temporary):
        sync(one)
    shutil.rmtree(place, ignore_errors=True)
    temporary.rename(place)
    sync(place.parent)


def sync(path: Path) -> None:
    """Have a file or a folder written to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def encoded(row: Mapping[str, Any]) -> bytes:
    """Write a row as a line of JSON; a lone surrogate in a text becomes its escape."""
    return json.dumps(plain(row), ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def plain(value: Any) -> Any:
    """Replace numbers that JSON does not have, NaN and infinity, by None, at any depth."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- reading -----------------------------------------------------------------------------------


def read_json(path: Path) -> Any:
    """Read a JSON file; InputError where it is absent or not JSON."""
    try:
        return parse_json(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None


def read_lines(path: Path, *, torn: bool = False) -> list[dict[str, Any]]:
    """Read the objects of a file of JSON lines; an absent file holds none.

    With `torn` a last line that a killed process did not finish is left out. Raises InputError,
    naming the line, for one that is no JSON object.
    """
    rows = []
    for where, row in numbered_lines(path, torn=torn):
        if not isinstance(row, dict):
            raise InputError(f"{where}: expected an object, not {row!r:.80}")
        rows.append(row)
    return rows


def numbered_lines(path: Path, *, torn: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield file and line number in words, and the value, for every line that is not blank."""
    content = path.read_bytes() if path.exists() else b""
    if torn:
        content = content[: content.rfind(b"\n") + 1]
    # Bytes are split, and at \n only: texts may hold U+2028 and other characters that end lines.
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            yield where, parse_json(line, where)


def parse_json(content: bytes, where: str) -> Any:
    """Parse JSON in UTF-8; InputError, beginning with `where`, for anything else."""
    try:
        return json.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8: {error.reason} at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON: {error}") from None


def cut_torn_line(path: Path) -> None:
    """Cut off a last line that a killed process did not finish."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)


# --- locks -------------------------------------------------------------------------------------


@contextmanager
def claimed(folder: Path, busy: str) -> Iterator[None]:
    """Keep other processes off a folder while the block runs; the system frees it if this one dies.

    Raises InputError with the sentence `busy` where another process has claimed it.
    """
    from filelock import FileLock, Timeout

    try:
        lock = FileLock(folder / LOCK, timeout=0).acquire()
    except Timeout:
        raise InputError(busy) from None
    with lock:
        yield
