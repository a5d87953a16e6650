"""Benchmarks by name: from local files, from the hub's rows, and a user's own."""

import json

import pytest

from maspo.data import sources
from maspo.errors import InputError
from maspo.evaluation.benchmarks import BENCHMARKS, load_benchmarks, plain_answer
from maspo.rewards import Gold
from maspo.rewards.math_reward import as_gold

SIZES = {
    "aime24": 30,
    "aime25": 30,
    "amc23": 40,
    "math500": 500,
    "minerva": 272,
    "olympiadbench": 675,
    "gsm8k": 1319,
}


def test_all_seven_load_from_local_files(shared) -> None:
    found = load_benchmarks(list(BENCHMARKS), data=shared / "data")
    assert {name: len(problems) for name, problems in found.items()} == SIZES
    for name, problems in found.items():
        assert all(problem.answer and problem.prompt[-1]["content"] for problem in problems), name
        relative = {getattr(as_gold(problem.answer), "relative", None) for problem in problems}
        assert relative == {BENCHMARKS[name].relative}, name
    janet = found["gsm8k"][0]
    assert janet.prompt[0]["content"].startswith("Janet’s ducks") and janet.answer == "18"


def test_the_limit_takes_the_first_of_each(shared) -> None:
    found = load_benchmarks(["aime24", "amc23"], data=shared / "data", limit=2)
    whole = load_benchmarks(["aime24", "amc23"], data=shared / "data")
    assert found == {name: problems[:2] for name, problems in whole.items()}


HUB_ROWS = {  # a row as each hub data set has it
    "aime24": {"id": 60, "problem": "1+1?", "solution": "It is 2.", "answer": "2", "year": "2024"},
    "aime25": {"problem": "1+1?", "answer": "2", "id": "0"},
    "amc23": {"id": 0, "answer": 2.0, "question": "1+1?", "url": "https://example.org"},
    "math500": {"problem": "1+1?", "solution": r"\boxed{2}", "answer": "2", "unique_id": "t/1"},
    "minerva": {"question": "1+1?", "answer": "2"},
    "olympiadbench": {
        "id": 1606, "question": "1+1?", "solution": ["It is 2."], "final_answer": ["$2$"],
        "context": None, "is_multiple_answer": False, "unit": None, "error": None,
    },
    "gsm8k": {"question": "1+1?", "answer": "1+1 = <<1+1=2>>2\n#### 2"},
}  # fmt: skip


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_rows_of_the_hub_become_problems(monkeypatch, name) -> None:
    asked = []

    def rows(source, split):
        asked.append((source, split))
        return [HUB_ROWS[name]]

    monkeypatch.setattr(sources, "read_hub", rows)
    (problem,) = load_benchmarks([name])[name]
    assert asked == [(BENCHMARKS[name].hub, BENCHMARKS[name].split)]
    assert problem.prompt == ({"role": "user", "content": "1+1?"},) and as_gold(problem.answer) == (
        Gold("2", relative=1e-4) if name == "minerva" else "2"
    )


def test_several_final_answers_are_one_list_without_dollars() -> None:
    row = plain_answer({"question": "x?", "final_answer": ["$1,2$", r"$\frac{1}{2}$"]})
    assert row["final_answer"] == r"1,2, \frac{1}{2}"


def test_a_file_of_ones_own_is_called_by_its_stem(tmp_path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"problem": "1+1", "answer": "2"}) + "\n")
    (problem,) = load_benchmarks([str(path)])["mine"]
    assert problem.answer == "2"
    with pytest.raises(InputError, match="two benchmarks are called 'mine'"):
        load_benchmarks([str(path), str(path)])


def test_what_is_no_benchmark_gets_one_sentence(tmp_path) -> None:
    (tmp_path / "bare.jsonl").write_text('{"problem": "1+1"}\n')
    for names, data, message in [
        (["aime42"], None, "unknown benchmark 'aime42'; did you mean 'aime2"),
        (["minerva"], tmp_path, "benchmark minerva needs the file minerva_math.jsonl, absent in"),
        (["minerva"], tmp_path / "no", "there is no folder"),
        ([str(tmp_path / "absent.jsonl")], None, "there is no file"),
        ([str(tmp_path / "bare.jsonl")], None, "no column .* for the answer"),
        ([], None, "no benchmark given; known: aime24"),
    ]:
        with pytest.raises(InputError, match=message) as raised:
            load_benchmarks(names, data=data)
        assert "\n" not in str(raised.value)
