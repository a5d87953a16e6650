"""What a sampler is given, what it yields, and the fixed layout of the work into chunks."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from maspo.data.problems import Problem
from maspo.errors import InputError

SampleKey = tuple[str, int]
"""A completion's place: the id of its problem and its index among the problem's samples."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to sample."""

    samples: int
    """Completions of each problem."""
    temperature: float = 1.0
    """0 is greedy decoding."""
    top_p: float = 1.0
    max_new_tokens: int
    batch_size: int
    """The most completions decoded together."""
    seed: int

    def __post_init__(self) -> None:
        for name in ("samples", "max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.temperature < 0:
            raise InputError(f"temperature must not be negative, as {self.temperature} is")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p must be above 0 and at most 1, not {self.top_p}")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One completion of one problem."""

    problem_id: str
    index: int
    """Which of the problem's samples this is, from 0."""
    seed: int
    """What the random numbers of this completion, or of the chunk it is from, began with."""
    text: str
    """The completion without special tokens."""
    tokens: int
    """Length of the completion, the end-of-sequence token included."""
    finish: str
    """`"stop"` if the model ended the sequence, `"length"` if the limit did."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Which chunks of the work one of several processes does: every `count`-th, from `index` on."""

    index: int
    count: int


WHOLE = Part(index=0, count=1)
"""All chunks."""


class Sampler(Protocol):
    """Draws completions; `with_transformers.py` and `with_vllm.py` hold the two there are."""

    def sample(
        self,
        problems: Sequence[Problem],
        settings: Settings,
        done: Collection[SampleKey] = (),
        part: Part = WHOLE,
    ) -> Iterator[list[Sample]]:
        """Yield the samples of a part of the chunks, chunk by chunk, without those that are `done`.

        The samples do not depend on what is done: a chunk of which only a part is done is drawn
        again whole, with its own seed, and what was missing is yielded. So an interrupted run that
        is continued ends with the samples of an uninterrupted one, on the same machine; and the
        parts together are the whole.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Completions that are decoded together: of some problems, the samples of some indices."""

    problems: tuple[str, ...]
    indices: range
    seed: int

    @property
    def rows(self) -> list[SampleKey]:
        """The places of the completions, problem by problem."""
        return [(problem, index) for problem in self.problems for index in self.indices]


def layout(
    lengths: Mapping[str, int],
    settings: Settings,
    done: Collection[SampleKey] = (),
    part: Part = WHOLE,
) -> Iterator[Chunk]:
    """Divide the work into chunks of at most `batch_size` completions; yield a part of those left to do.

    A chunk holds whole problems, or a part of one where `samples` exceeds `batch_size`. It depends
    on the problems, their prompts' `lengths` in tokens and the settings alone, not on the order of
    the problems, which are sorted by length for little padding; so does its seed. Chunks that are
    wholly `done` are left out before the parts are dealt.
    """
    left = (c for c in _chunks(lengths, settings) if any(row not in done for row in c.rows))
    yield from islice(left, part.index, None, part.count)


def _chunks(lengths: Mapping[str, int], settings: Settings) -> Iterator[Chunk]:
    order = sorted(lengths, key=lambda problem: (lengths[problem], problem))
    together = max(1, settings.batch_size // settings.samples)
    for first in range(0, len(order), together):
        problems = tuple(order[first : first + together])
        for start in range(0, settings.samples, settings.batch_size):
            indices = range(start, min(start + settings.batch_size, settings.samples))
            seed = derived_seed(settings.seed, problems, indices.start, indices.stop)
            yield Chunk(problems=problems, indices=indices, seed=seed)


def derived_seed(*parts: object) -> int:
    """Hash numbers and texts to a seed of 48 bits, which JSON keeps exactly everywhere."""
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big")


def check_unique(problems: Sequence[Problem]) -> None:
    """Raise InputError where two problems share an id."""
    if len({problem.id for problem in problems}) < len(problems):
        raise InputError("two problems have the same id; samples are told apart by it")


def draw(
    sampler: Sampler,
    problems: Sequence[Problem],
    settings: Settings,
    progress: Callable[[int], None] | None = None,
) -> list[Sample]:
    """Draw all samples, problem by problem in the order given; `progress` hears of each chunk."""
    drawn: dict[SampleKey, Sample] = {}
    for samples in sampler.sample(problems, settings):
        drawn |= {(one.problem_id, one.index): one for one in samples}
        if progress is not None:
            progress(len(samples))
    return [drawn[problem.id, index] for problem in problems for index in range(settings.samples)]
