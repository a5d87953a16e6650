"""A procedural task for code rewards: programs that read a line of whole numbers and print what is asked."""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from maspo.data.arithmetic import SPLITS
from maspo.data.problems import Problem
from maspo.errors import InputError, unknown

CASES = 4
"""Inputs that each program is run on."""

Step = tuple[str, Callable[[list[int]], list[int]]]
"""What is asked of the numbers, in words and as a function of ours."""


def _kept(wanted: Callable[[int], bool], numbers: list[int]) -> list[int]:
    return [x for x in numbers if wanted(x)]


def _each(change: Callable[[int], int], numbers: list[int]) -> list[int]:
    return [change(x) for x in numbers]


CHOICES: Sequence[Step] = [
    ("Take all of them", list),
    ("Take the even ones", partial(_kept, lambda x: x % 2 == 0)),
    ("Take the odd ones", partial(_kept, lambda x: x % 2 == 1)),
    *((f"Take those above {k}", partial(_kept, lambda x, k=k: x > k)) for k in range(-9, 10)),
    *((f"Take those below {k}", partial(_kept, lambda x, k=k: x < k)) for k in range(-9, 10)),
]
CHANGES: Sequence[Step] = [
    ("", list),
    (", square each", partial(_each, lambda x: x * x)),
    (", take the absolute value of each", partial(_each, abs)),
    *((f", multiply each by {k}", partial(_each, lambda x, k=k: x * k)) for k in range(2, 10)),
    *((f", add {k} to each", partial(_each, lambda x, k=k: x + k)) for k in range(1, 10)),
]
ENDINGS: Sequence[Step] = [
    (" and print their sum", lambda found: [sum(found)]),
    (" and print how many different numbers there are", lambda found: [len(set(found))]),
    (" and print the largest", lambda found: [max(found)]),
    (" and print the smallest", lambda found: [min(found)]),
    (" and print them in rising order, with a blank between two", sorted),
    (" and print them in reverse, with a blank between two", lambda found: found[::-1]),
]


def program_problems(count: int, *, seed: int, split: str) -> list[Problem]:
    """Draw `count` distinct problems of one split, whose golds are for the reward `code`.

    The same seed gives the same problems, and a longer list begins with the shorter one. No problem is
    in both splits, whatever the seeds.

    Raises InputError for an unknown split, a count below 1, or more than there are.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if count < 1:
        raise InputError(f"count must be at least 1, not {count}")
    found = [steps for steps in _all() if _split_of(_words(steps)) == split]
    if count > len(found):
        raise InputError(f"there are {len(found)} problems in the split {split}, not {count}")
    random.Random(seed).shuffle(found)
    return [_problem(steps) for steps in found[:count]]


def _all() -> Iterator[tuple[Step, ...]]:
    for choice in CHOICES:
        for change in CHANGES:
            yield from ((choice, change, ending) for ending in ENDINGS)


def _words(steps: Sequence[Step]) -> str:
    return "".join(words for words, _ in steps)


def _split_of(words: str) -> str:
    """Put one problem in ten into the test split."""
    return (
        "test" if hashlib.blake2b(words.encode(), digest_size=8).digest()[0] % 10 == 0 else "train"
    )


def _problem(steps: tuple[Step, ...]) -> Problem:
    words = _words(steps)
    draw, inputs, outputs = random.Random(words), [], []
    choose = steps[0][1]
    while len(inputs) < CASES:
        numbers = [draw.randint(-20, 20) for _ in range(draw.randint(3, 8))]
        if not choose(numbers):  # there would be no largest
            continue
        found = numbers
        for _, step in steps:
            found = step(found)
        inputs.append(" ".join(map(str, numbers)) + "\n")
        outputs.append(" ".join(map(str, found)) + "\n")
    text = f"Write a Python program. It reads one line of whole numbers. {words}."
    return Problem(
        id=f"programs:{words}",
        prompt=({"role": "user", "content": text},),
        answer={"inputs": inputs, "outputs": outputs},
    )
