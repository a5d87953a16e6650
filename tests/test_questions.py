"""The task of questions: repeatable, its splits apart, its answers those of another reading of its words."""

import re

import pytest

from maspo import InputError
from maspo.data import load_problems
from maspo.data.questions import question_problems

WORDS = {
    r"What is (\d) \+ (\d)\?": lambda a, b: a + b,
    r"What is (\d+) - (\d)\?": lambda a, b: a - b,
    r"What is (\d) x (\d)\?": lambda a, b: a * b,
    r"Which is the largest of (\d+), (\d+) and (\d+)\?": lambda *numbers: sorted(numbers)[-1],
}


def read(problem):
    """Return the kind of a question, its numbers, and its answer worked out from the words."""
    text = problem.prompt[-1]["content"]
    assert text.endswith(" Answer with one number.")
    for kind, work in WORDS.items():
        found = re.fullmatch(kind + " Answer with one number.", text)
        if found:
            numbers = [int(number) for number in found.groups()]
            return kind, numbers, work(*numbers)
    raise AssertionError(text)


@pytest.mark.parametrize(("split", "count"), [("train", 400), ("test", 60)])
def test_answers_are_those_of_the_words_and_every_kind_is_asked(split, count):
    problems = question_problems(count, seed=2, split=split)
    assert len({problem.id for problem in problems}) == count
    assert [problem.answer for problem in problems] == [str(read(one)[2]) for one in problems]
    assert {read(one)[0] for one in problems} == set(WORDS)


def test_no_numbers_are_in_both_splits_in_any_order():
    def asked(split, seeds):
        found = [one for seed in seeds for one in question_problems(300, seed=seed, split=split)]
        return {(kind, tuple(sorted(numbers))) for kind, numbers, _ in map(read, found)}

    train, test = asked("train", range(5)), asked("test", range(5))
    assert train and test and not train & test


def test_a_seed_gives_the_same_and_a_longer_list_begins_with_the_shorter():
    long = load_problems("questions", limit=50, seed=4)
    assert load_problems("questions", limit=20, seed=4) == long[:20]
    assert load_problems("questions", limit=20, seed=5) != long[:20]


def test_bad_input():
    with pytest.raises(InputError, match="unknown split 'dev'"):
        question_problems(3, seed=0, split="dev")
    for count in (0, 1001):
        with pytest.raises(InputError, match=f"limit must be 1 to 1000, not {count}"):
            question_problems(count, seed=0, split="train")
