"""A procedural task for small language models: questions about small numbers, answered by one number."""

import hashlib
import random
from collections.abc import Callable, Sequence

from maspo.data.arithmetic import SPLITS
from maspo.data.problems import Problem
from maspo.errors import InputError, unknown

Question = tuple[str, int, tuple[int, ...]]
"""What is asked, the answer, and the numbers that say in which split it is, however they are ordered."""


def _sum(draw: random.Random) -> Question:
    a, b = draw.randint(1, 9), draw.randint(1, 9)
    return f"What is {a} + {b}?", a + b, (a, b)


def _difference(draw: random.Random) -> Question:
    a, b = draw.randint(1, 9), draw.randint(1, 9)
    return f"What is {a + b} - {a}?", b, (a, b)


def _product(draw: random.Random) -> Question:
    a, b = draw.randint(1, 9), draw.randint(1, 9)
    return f"What is {a} x {b}?", a * b, (a, b)


def _largest(draw: random.Random) -> Question:
    numbers = draw.sample(range(1, 100), 3)
    text = f"Which is the largest of {numbers[0]}, {numbers[1]} and {numbers[2]}?"
    return text, max(numbers), tuple(numbers)


_KINDS: Sequence[Callable[[random.Random], Question]] = (_sum, _difference, _product, _largest)
MOST = 1000
"""Problems of a split: the first three kinds have 81 questions each, so more would be of the last alone."""


def question_problems(count: int, *, seed: int, split: str) -> list[Problem]:
    """Draw `count` distinct problems of one split, each kind as often as another while it has any left.

    The same seed gives the same problems, and a longer list begins with the shorter one. No numbers
    are in both splits, whatever the seeds and however they are ordered; "test" has one in five.

    Raises InputError for an unknown split or a count outside 1 to 1000.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if not 1 <= count <= MOST:
        raise InputError(f"questions: limit must be 1 to {MOST}, not {count}")
    drawn: dict[str, Problem] = {}
    draw = random.Random(seed)
    while len(drawn) < count:
        text, answer, numbers = draw.choice(_KINDS)(draw)
        if _split_of(numbers) == split:
            drawn[text] = _problem(text, answer)
    return list(drawn.values())


def _split_of(numbers: tuple[int, ...]) -> str:
    """Put one set of numbers in five into the test split."""
    key = " ".join(map(str, sorted(numbers))).encode()
    return "test" if hashlib.blake2b(key, digest_size=8).digest()[0] % 5 == 0 else "train"


def _problem(text: str, answer: int) -> Problem:
    return Problem(
        id=f"questions:{text}",
        prompt=({"role": "user", "content": f"{text} Answer with one number."},),
        answer=str(answer),
    )
