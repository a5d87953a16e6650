"""The samples file: append-only, one line a sample, safe against a killed process."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from maspo import files
from maspo.errors import InputError
from maspo.sampling import Sample, SampleKey

_TYPES = {"problem_id": str, "index": int, "seed": int, "text": str, "tokens": int, "finish": str}


def read_samples(
    path: Path, problems: Mapping[str, Container[str]], count: int
) -> dict[str, dict[SampleKey, Sample]]:
    """Read the samples of each benchmark by their places; an absent file holds none.

    Args:
        path: the samples file.
        problems: the ids of the problems of each benchmark.
        count: the number of samples of each problem.

    A last line that a killed process did not finish counts as not drawn. Raises InputError, naming
    the line, for one that is broken, a sample given twice, or one that belongs to no problem or
    index of this evaluation.
    """
    found: dict[str, dict[SampleKey, Sample]] = {name: {} for name in problems}
    for where, line in files.numbered_lines(path, torn=True):
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
    """Open the samples file, and yield what appends the samples of a benchmark, durably.

    A last line that a killed process did not finish is cut off. Raises InputError where another
    process has the file open in this way.
    """
    with files.claimed(path.parent, f"another process is adding samples to {path}"):
        files.cut_torn_line(path)
        path.open("ab").close()

        def append(benchmark: str, samples: Iterable[Sample]) -> None:
            files.append_lines(path, [{"benchmark": benchmark, **asdict(one)} for one in samples])

        yield append


def _parse(fields: Any, where: str) -> tuple[str, Sample]:
    try:
        name = fields.pop("benchmark")
        sample = Sample(**fields)
    except (TypeError, KeyError, AttributeError):
        raise InputError(f"{where} is not a sample: {fields!r:.60}") from None
    if type(name) is not str:
        raise InputError(f"{where}: benchmark must be of type str: {name!r:.60}")
    for key, kind in _TYPES.items():
        if type(fields[key]) is not kind:
            raise InputError(f"{where}: {key} must be of type {kind.__name__}: {fields[key]!r:.60}")
    return name, sample
