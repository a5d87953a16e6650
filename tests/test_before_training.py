"""What is checked before a run trains: held-out problems, golds that can be reached, the outlook."""

import io

import pytest
from rich.console import Console

from maspo.data import Problem, arithmetic_problems, load_problems
from maspo.data.columns import apply_template
from maspo.data.held_out import also_in_training
from maspo.errors import InputError
from maspo.evaluation.golds import try_golds
from maspo.lab.checks import check_golds_reached, check_held_out
from maspo.lab.console import Screen
from maspo.lab.run.text import judged_on, run_warnings
from maspo.recipes import parse_recipe
from maspo.rewards import RewardSet

DOUBTFUL = {"olympiad-1965"}
"""Golds of the shared data that read as prose: `f(x)=a x+b, where b is an arbitrary integer, and ...`."""


@pytest.fixture(scope="module")
def rewards():
    with RewardSet.start() as made:
        yield made


@pytest.fixture
def shown():
    return io.StringIO()


@pytest.fixture
def screen(shown):
    return Screen(Console(file=shown, width=1000))


def ask(identifier, *texts, roles=("user",), template="{problem}"):
    *before, last = texts
    messages = [{"role": r, "content": t} for r, t in zip(roles, (*before, last), strict=True)]
    messages[-1]["content"] = apply_template(template, last)
    return Problem(id=identifier, prompt=tuple(messages), answer="1")


def same(evaluation, training, **templates):
    return [problem.id for problem in also_in_training([evaluation], [training], **templates)] == [
        evaluation.id
    ]


def test_a_problem_of_another_layout_is_the_same():
    assert same(ask("e", r"Is $\tfrac{1}{2}$  odd?"), ask("t", r"is \( \dfrac12 \) odd?"))


@pytest.mark.parametrize(
    ("one", "other"),
    [("12+3", "12+4"), ("Find $x$.", "Find $y$."), ("a man", "a men"), ("1-2", "12")],
)
def test_one_letter_makes_another_problem(one, other):
    assert not same(ask("e", one), ask("t", other))


def test_templates_do_not_hide_a_problem():
    ours, theirs = "Q: {problem}\nA:", "{problem} Put it in \\boxed{}."
    one, other = ask("e", "1+2", template=ours), ask("t", "1+2", template=theirs)
    assert same(one, other, templates=(ours, theirs))
    assert not same(one, other)
    assert not same(ask("e", "1+2", template=ours), ask("t", "1+3", template=theirs),
                    templates=(ours, theirs))  # fmt: skip


def test_what_was_said_before_belongs_to_the_problem_but_a_system_message_does_not():
    roles = ("user", "assistant", "user")
    assert not same(ask("e", "a", "b", "and now?", roles=roles),
                    ask("t", "c", "b", "and now?", roles=roles))  # fmt: skip
    assert same(ask("e", "be brief", "1+1", roles=("system", "user")), ask("t", "1+1"))


def test_the_splits_of_the_arithmetic_task_share_nothing():
    train = arithmetic_problems(3000, seed=1, split="train")
    test = arithmetic_problems(300, seed=1, split="test")
    assert also_in_training(test, train) == []
    assert also_in_training(train[:9], train) == train[:9]


def test_known_overlaps_of_the_shared_data_are_found(shared):
    def load(name):
        return load_problems(str(shared / "data" / f"{name}.jsonl"))

    dapo = load("dapo_math_17k")
    counts = {n: len(also_in_training(load(n), dapo)) for n in ("amc23", "math500", "aime24")}
    # The data's README has 7, 6 and 0 by a normalisation that keeps colons and displayed mathematics
    # apart; what is found beyond it was read side by side, and is the same problem in another layout.
    assert counts == {"amc23": 8, "math500": 7, "aime24": 0}


def recipe(**data):
    return parse_recipe({"data": data, "evaluation": {"data": {"source": "arithmetic"}}})


def test_problems_that_are_trained_on_are_named_or_refused(screen, shown):
    train = arithmetic_problems(40, seed=1, split="train")
    other = arithmetic_problems(10, seed=1, split="test")
    none = check_held_out(recipe(), train, other, screen, strict=True)
    assert none == {"problems": 10, "also_in_training": 0, "ids": []} and not shown.getvalue()
    mixed = [*train[:7], *other]
    found = check_held_out(recipe(), train, mixed, screen, strict=False)
    assert found["also_in_training"] == 7 and found["ids"] == [one.id for one in train[:7]]
    assert (
        "7 of the 17 problems of the evaluation are also in the training data" in shown.getvalue()
    )
    assert train[0].id in shown.getvalue() and "and 2 more" in shown.getvalue()
    with pytest.raises(InputError, match="7 of the 17 problems"):
        check_held_out(recipe(), train, mixed, screen, strict=True)


@pytest.mark.parametrize(
    ("overlap", "said"),
    [
        ({"also_in_training": 0}, "17 held-out problems x 2 samples"),
        ({"also_in_training": 7}, "17 problems x 2 samples, 7 of them also in the training data"),
        (
            {"also_in_training": 17},
            "17 problems x 2 samples, all of them also in the training data",
        ),
        (None, "17 problems x 2 samples"),
    ],
)
def test_held_out_is_said_only_where_it_is_true(overlap, said):
    summary = {"after": {"problems": 17, "samples": 2}, "held_out": overlap}
    assert judged_on(summary) == said
    leaked = bool(overlap and overlap["also_in_training"])
    assert run_warnings(summary) == ([f"Not held out: {said}."] if leaked else [])


def gold(identifier, answer):
    return Problem(id=identifier, prompt=(), answer=answer)


PROSE = "Remark\nThis is easy, of course."


def test_golds_that_are_not_reached_by_their_own_text_are_told(rewards):
    answers = ["5", r"\frac{1}{2}", "(5, 2)", {"answer": "3", "unit": "cm"}, "5", PROSE, r"\text{}"]
    problems = [gold(str(number), answer) for number, answer in enumerate(answers)]
    found = try_golds(problems, rewards)
    assert (found.golds, found.tried) == (6, 6)
    told = {one.problem_id: (one.text, one.why) for one in found.doubtful}
    assert told == {"5": (rf"\boxed{{{PROSE}}}", "prose"), "6": (r"\boxed{\text{}}", "error")}
    assert try_golds(problems, rewards, most=2).tried == 2


def test_doubtful_golds_are_shown_or_refused(rewards, screen, shown):
    both, good = [gold("a", "5"), gold("b", PROSE)], [gold("a", "5")]
    check_golds_reached({"training": both, "evaluation": good}, rewards, screen, strict=False)
    assert shown.getvalue().count("warning") == 1
    assert (
        "1 of 2 golds of the training problems" in shown.getvalue() and "of b" in shown.getvalue()
    )
    with pytest.raises(InputError, match="1 of 2 golds"):
        check_golds_reached({"training": both}, rewards, screen, strict=True)


def test_rewards_without_golds_have_nothing_to_try(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def longest(completions, **_):\n    return [1.0] * len(completions)\n"
    )
    with RewardSet.start([{"source": f"{tmp_path}/mine.py:longest"}]) as own:
        assert try_golds([gold("a", None), gold("b", "5")], own).golds == 0


SETS = (
    *("aime24", "aime25", "amc23", "math500", "minerva_math", "olympiadbench"),
    *("gsm8k_test", "gsm8k_train", "dapo_math_17k", "math_train"),
)


@pytest.mark.parametrize("name", SETS)
def test_every_gold_of_the_shared_data_is_reached_by_its_own_text(shared, rewards, name):
    problems = load_problems(str(shared / "data" / f"{name}.jsonl"))
    found = try_golds(problems, rewards, most=10**6)
    assert found.tried == found.golds
    ids = {problem.id for problem in problems}
    told = {one.problem_id: one.why for one in found.doubtful}
    assert set(told) == DOUBTFUL & ids


def test_the_solutions_of_gsm8k_reach_their_golds(shared, rewards):
    """But for 26 of 8,792: math-verify takes the number behind the word "answer" in their prose."""
    missed = []
    for name in ("gsm8k_test", "gsm8k_train"):
        path = str(shared / "data" / f"{name}.jsonl")
        golds = load_problems(path, columns={"answer": "solution"})
        solutions = load_problems(path, columns={"prompt": "solution"})
        texts = [problem.prompt[0]["content"] for problem in solutions]
        verdicts = rewards.verdicts(texts, golds)
        missed += [t for t, v in zip(texts, verdicts, strict=True) if v.outcome != "correct"]
    assert len(missed) <= 26
    assert all("answer" in text.casefold() for text in missed)
