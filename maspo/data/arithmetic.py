"""A procedural task: add two or three numbers of one to three digits, column by column."""

import hashlib
import random
from collections.abc import Iterator
from itertools import zip_longest

from maspo.data.problems import Problem
from maspo.errors import InputError, unknown

SPLITS = ("train", "test")


def arithmetic_problems(count: int, *, seed: int, split: str) -> list[Problem]:
    """Draw `count` distinct problems of one split.

    The same seed gives the same problems, and a longer list begins with the shorter one. No sum
    is in both splits, whatever the seeds and however its numbers are ordered.

    Raises InputError for an unknown split or a count below 1.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if count < 1:
        raise InputError(f"count must be at least 1, not {count}.")
    drawn: dict[str, Problem] = {}
    for numbers in _numbers(seed):
        if _split_of(numbers) == split:
            problem = _problem(numbers)
            drawn[problem.id] = problem
            if len(drawn) == count:
                break
    return list(drawn.values())


def worked_solution(problem: Problem) -> str:
    r"""Write out the column addition of an arithmetic problem, ending in its boxed answer.

    One line a column, from the units up, the carry as the last term:
    `48+275` gives `8+5=13`, `4+7+1=12`, `2+1=3`, `\boxed{323}`.
    """
    numbers = problem.prompt[-1]["content"].split("+")
    lines, carry = [], 0
    for digits in zip_longest(*(reversed(number) for number in numbers)):
        terms = [int(digit) for digit in digits if digit is not None]
        if carry:
            terms.append(carry)
        lines.append(f"{'+'.join(map(str, terms))}={sum(terms)}")
        carry = sum(terms) // 10
    return "\n".join([*lines, rf"\boxed{{{problem.answer}}}"])


def _numbers(seed: int) -> Iterator[tuple[int, ...]]:
    """Draw two or three numbers without end, each length in digits as likely as the others."""
    draw = random.Random(seed)
    while True:
        digits = [draw.randint(1, 3) for _ in range(draw.randint(2, 3))]
        yield tuple(draw.randrange(10 ** (n - 1), 10**n) for n in digits)


def _split_of(numbers: tuple[int, ...]) -> str:
    """Put one sum in ten into the test split, by a hash that ignores the order of its numbers."""
    key = "+".join(map(str, sorted(numbers))).encode()
    return "test" if hashlib.blake2b(key, digest_size=8).digest()[0] % 10 == 0 else "train"


def _problem(numbers: tuple[int, ...]) -> Problem:
    text = "+".join(map(str, numbers))
    return Problem(
        id=f"arithmetic:{text}",
        prompt=({"role": "user", "content": text},),
        answer=str(sum(numbers)),
    )
