"""The arithmetic task: repeatable, its splits apart, its worked solutions true."""

import pytest

from maspo.data.arithmetic import arithmetic_problems, worked_solution
from maspo.data.problems import Problem
from maspo.errors import InputError


def question(text: str, answer: str) -> Problem:
    return Problem(id=text, prompt=({"role": "user", "content": text},), answer=answer)


@pytest.mark.parametrize(
    ("text", "answer", "solution"),
    [
        ("48+275", "323", "8+5=13\n4+7+1=12\n2+1=3\n\\boxed{323}"),
        ("275+48", "323", "5+8=13\n7+4+1=12\n2+1=3\n\\boxed{323}"),
        ("10+10", "20", "0+0=0\n1+1=2\n\\boxed{20}"),
        ("9+7", "16", "9+7=16\n\\boxed{16}"),
        ("120+11", "131", "0+1=1\n2+1=3\n1=1\n\\boxed{131}"),
        ("999+99+999", "2097", "9+9+9=27\n9+9+9+2=29\n9+9+2=20\n\\boxed{2097}"),
    ],
)
def test_worked_solutions_by_hand(text: str, answer: str, solution: str) -> None:
    assert worked_solution(question(text, answer)) == solution


@pytest.mark.parametrize("split", ["train", "test"])
def test_problems_are_sums_of_the_stated_size(split: str) -> None:
    problems = arithmetic_problems(500, seed=3, split=split)
    terms = [[int(n) for n in problem.prompt[0]["content"].split("+")] for problem in problems]
    assert [problem.answer for problem in problems] == [str(sum(numbers)) for numbers in terms]
    assert {len(numbers) for numbers in terms} == {2, 3}
    assert {len(str(number)) for numbers in terms for number in numbers} == {1, 2, 3}
    assert len({problem.id for problem in problems}) == 500


def test_every_line_of_the_working_is_true() -> None:
    for problem in arithmetic_problems(300, seed=4, split="train"):
        *lines, boxed = worked_solution(problem).split("\n")
        columns = [line.split("=") for line in lines]
        assert all(sum(map(int, left.split("+"))) == int(right) for left, right in columns)
        read_upwards = columns[-1][1] + "".join(right[-1] for _, right in columns[-2::-1])
        assert boxed == f"\\boxed{{{read_upwards}}}" == f"\\boxed{{{problem.answer}}}"


def test_the_answer_can_be_verified() -> None:
    math_verify = pytest.importorskip("math_verify")
    problem = arithmetic_problems(1, seed=5, split="train")[0]
    found = math_verify.parse(worked_solution(problem))
    assert math_verify.verify(math_verify.parse(f"${problem.answer}$"), found)
    assert not math_verify.verify(math_verify.parse(f"${int(problem.answer) + 1}$"), found)


def test_a_seed_is_a_stream() -> None:
    longer = arithmetic_problems(50, seed=6, split="train")
    assert arithmetic_problems(20, seed=6, split="train") == longer[:20]
    assert arithmetic_problems(20, seed=7, split="train") != longer[:20]


def test_splits_share_no_sum_in_any_order() -> None:
    def sums(split: str, seed: int) -> set[tuple[str, ...]]:
        problems = arithmetic_problems(3000, seed=seed, split=split)
        return {tuple(sorted(p.prompt[0]["content"].split("+"))) for p in problems}

    train, test = sums("train", 1) | sums("train", 2), sums("test", 1) | sums("test", 2)
    assert len(train) > 5000
    assert len(test) > 5000
    assert not train & test


def test_bad_requests_are_named() -> None:
    with pytest.raises(InputError, match="did you mean 'test'"):
        arithmetic_problems(1, seed=0, split="tests")
    with pytest.raises(InputError, match="at least 1"):
        arithmetic_problems(0, seed=0, split="test")
