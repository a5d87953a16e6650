"""Samples kept as they are drawn, so that an evaluation which is cut off goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from maspo.data import Problem
from maspo.evaluation.samples import appending, read_samples
from maspo.sampling import Row, Sample, Sampler, Settings

_NAME = "evaluation"


class _Journal:
    """A sampler that yields what is on file, and adds to the file what it draws."""

    def __init__(
        self,
        sampler: Sampler,
        there: Mapping[Row, Sample],
        append: Callable[[str, Iterable[Sample]], None],
    ) -> None:
        self._sampler, self._there, self._append = sampler, there, append

    def sample(
        self, problems: Sequence[Problem], settings: Settings, done: Collection[Row] = ()
    ) -> Iterator[list[Sample]]:
        """Yield the samples, those on file first."""
        yield [one for row, one in self._there.items() if row not in done]
        for samples in self._sampler.sample(problems, settings, {*done, *self._there}):
            self._append(_NAME, samples)
            yield samples


@contextmanager
def journal(
    sampler: Sampler, path: Path, problems: Sequence[Problem], samples: int
) -> Iterator[Sampler]:
    """Keep the samples of `sampler` in the file `path` while the block runs; afterwards it is removed.

    A block that ends with an exception, or with the process, leaves the file to be gone on with.
    """
    with appending(path) as append:
        there = read_samples(path, {_NAME: {one.id for one in problems}}, samples)[_NAME]
        yield _Journal(sampler, there, append)
    path.unlink()
