"""The task of small programs: repeatable, its splits apart, its golds those of programs written by hand."""

import re

import pytest

from maspo import InputError
from maspo.data import load_problems
from maspo.data.programs import program_problems
from maspo.rewards import Outcome, RewardSet

CHOICES = {
    r"Take all of them": "True",
    r"Take the even ones": "not n % 2",
    r"Take the odd ones": "n % 2",
    r"Take those above (-?\d+)": "n > {}",
    r"Take those below (-?\d+)": "n < {}",
}
CHANGES = {
    "": "n",
    r", square each": "n ** 2",
    r", take the absolute value of each": "abs(n)",
    r", multiply each by (\d+)": "n * {}",
    r", add (\d+) to each": "n + {}",
}
ENDINGS = {
    r" and print their sum\.": "sum(m)",
    r" and print how many different numbers there are\.": "len(dict.fromkeys(m))",
    r" and print the largest\.": "sorted(m)[-1]",
    r" and print the smallest\.": "sorted(m)[0]",
    r" and print them in rising order, with a blank between two\.": "*sorted(m)",
    r" and print them in reverse, with a blank between two\.": "*reversed(m)",
}


def written(text):
    """Write the program that a text asks for."""
    for choice, keeps in CHOICES.items():
        for change, turns in CHANGES.items():
            for ending, shows in ENDINGS.items():
                found = re.search(f"whole numbers\\. {choice}{change}{ending}$", text)
                if found:
                    numbers = list(found.groups())
                    keep = keeps.format(numbers.pop(0)) if "{" in keeps else keeps
                    turn = turns.format(*numbers)
                    line = f"m = [{turn} for n in map(int, input().split()) if {keep}]"
                    return f"```python\n{line}\nprint({shows})\n```"
    raise AssertionError(text)


def test_golds_are_those_of_programs_written_by_hand():
    problems = program_problems(60, seed=3, split="train")
    right = [written(one.prompt[-1]["content"]) for one in problems]
    constant = ["```python\nprint(7)\n```"] * len(problems)
    with RewardSet.start([{"kind": "code", "time_limit": 60}]) as rewards:
        outcomes = [v.outcome for v in rewards.verdicts(right, problems)]
        wrong = [v.outcome for v in rewards.verdicts(constant, problems)]
    assert outcomes == [Outcome.CORRECT] * 60 and wrong == [Outcome.WRONG] * 60


def test_they_are_repeatable_distinct_and_apart():
    train, test = (program_problems(400, seed=1, split=split) for split in ("train", "test"))
    assert program_problems(30, seed=1, split="train") == train[:30]
    assert program_problems(30, seed=2, split="train") != train[:30]
    others = program_problems(400, seed=9, split="test")
    texts = [{one.prompt[-1]["content"] for one in each} for each in (train, test, others)]
    assert len(texts[0]) == 400 and not texts[0] & (texts[1] | texts[2])
    assert load_problems("programs", limit=30, seed=1) == train[:30]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"limit": 10**6}, "there are .* problems in the split train"),
        ({"limit": 3, "split": "tests"}, "did you mean 'test'"),
        ({"limit": 3, "columns": {"answer": "a"}}, "columns"),
        ({}, "limit"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(settings, said):
    with pytest.raises(InputError, match=said):
        load_problems("programs", **settings)
