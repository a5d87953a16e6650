"""The samples file: append-only, one line a sample, safe against a killed process."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from maspo.errors import InputError
from maspo.sampling import Row, Sample

_TYPES = {"problem_id": str, "index": int, "seed": int, "text": str, "tokens": int, "finish": str}


def read_samples(
    path: Path, problems: Mapping[str, Container[str]], count: int
) -> dict[str, dict[Row, Sample]]:
    """Read the samples of each benchmark by their places; an absent file holds none.

    Args:
        path: the samples file.
        problems: the ids of the problems of each benchmark.
        count: the number of samples of each problem.

    Raises InputError, naming the line, for one that is broken or ends without a line end, a
    sample given twice, or one that belongs to no problem or index of this evaluation.
    """
    found: dict[str, dict[Row, Sample]] = {name: {} for name in problems}
    content = path.read_bytes() if path.exists() else b""
    # Bytes are split, and at \n only: texts may hold U+2028 and other characters that end lines.
    *lines, rest = content.split(b"\n")
    if rest:
        raise InputError(
            f"{path} ends in the middle of line {len(lines) + 1}; run the evaluation on"
        )
    for number, line in enumerate(lines, 1):
        where = f"{path}, line {number}"
        name, sample = _parse(line, where)
        row = sample.problem_id, sample.index
        place = f"benchmark {name!r}, problem {sample.problem_id!r}, index {sample.index}"
        if sample.problem_id not in problems.get(name, ()) or not 0 <= sample.index < count:
            raise InputError(f"{where}: {place} is no sample of this evaluation")
        if row in found[name]:
            raise InputError(f"{where}: {place} is there twice")
        found[name][row] = sample
    return found


@contextmanager
def appending(path: Path) -> Iterator[Callable[[str, Iterable[Sample]], None]]:
    """Open the samples file, and give what appends the samples of a benchmark for good.

    A last line that a killed process did not finish is cut off. Raises InputError where another
    process has the file open in this way.
    """
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"another process is adding samples to {path}") from None
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)

        def append(benchmark: str, samples: Iterable[Sample]) -> None:
            file.write(b"".join(encoded({"benchmark": benchmark, **asdict(s)}) for s in samples))
            file.flush()
            os.fsync(file.fileno())

        yield append


def encoded(row: Mapping[str, Any]) -> bytes:
    """Write a row as a line of JSON; a lone surrogate in a text becomes its escape."""
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def _parse(line: bytes, where: str) -> tuple[str, Sample]:
    try:
        fields = json.loads(line)
        name = fields.pop("benchmark")
        sample = Sample(**fields)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"{where} is not a sample: {line[:60]!r}") from None
    if type(name) is not str:
        raise InputError(f"{where}: benchmark must be of type str: {name!r:.60}")
    for key, kind in _TYPES.items():
        if type(fields[key]) is not kind:
            raise InputError(f"{where}: {key} must be of type {kind.__name__}: {fields[key]!r:.60}")
    return name, sample
