"""Every schema gives the same problems; every unusable data set is refused in one sentence."""

import json
import sys
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maspo.data import Problem, arithmetic_problems, load_problems
from maspo.data.golds import gold_answer, gold_of, reads_as_prose
from maspo.errors import InputError

USER = "user"


def write(path, rows):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def ask(content):
    return ({"role": USER, "content": content},)


def load_rows(tmp_path, rows, **options):
    return load_problems(write(tmp_path / "set.jsonl", rows), **options)


SCHEMAS = {
    "plain": {"problem": "6 times 7?", "answer": "42"},
    "gsm8k": {"question": "6 times 7?", "answer": "6*7=<<6*7=42>>42\n#### 42"},
    "math": {"problem": "6 times 7?", "solution": r"Not \boxed{41}, but $\boxed{42}$."},
    "messages": {"prompt": [{"role": USER, "content": "6 times 7?"}], "answer": "42"},
    "verl": {
        "data_source": "openai/gsm8k",
        "prompt": [{"role": USER, "content": "6 times 7?"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "42"},
        "extra_info": {"split": "train", "index": 0, "answer": "#### 42"},
    },
    "ground truth": {"prompt": "6 times 7?", "ground_truth": "42"},
    "both": {"problem": "6 times 7?", "solution": r"\boxed{wrong}", "answer": "42"},
    "float": {"problem": "6 times 7?", "answer": 42.0},
    "integer": {"problem": "6 times 7?", "answer": 42},
    "rewritten": {"problem": "6 times 7?", "answer": "forty-two", "answer_mv": "42"},
}


@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet"])
@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_schema_gives_the_same_problem(tmp_path, schema, ending):
    path = write(tmp_path / f"set.{ending}", [SCHEMAS[schema]])
    [problem] = load_problems(path)
    assert problem == Problem(id="set-0", prompt=ask("6 times 7?"), answer="42")


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        ("#### 72", "72"),
        ("costs $1,000 more\n#### -1,234,567.5 ", "-1234567.5"),
        ("five\r\n#### 1,234 dollars\r\n", "1234 dollars"),
        ("#### (1,000, 2)", "(1,000, 2)"),
        ("#### (5, 2)", "(5, 2)"),
        ("#### 5, 2", "5, 2"),
        ("#### 12,34", "12,34"),
        ("Then\n#### Step 2\nadd.\n  #### 7", "7"),
        ("#### Step 1\nadd.\n#### Answer\n\\boxed{(5, 2)}", "(5, 2)"),
        ("We get \\boxed{1,000}.\n#### Remark\nThis is easy, of course.", "1,000"),
        ("\\boxed{5}\n#### 6", "5"),
        ("add.\n#### Step 2\nSo it is 42.", None),
        ("add.\n#### This is easy, of course.", None),
        ("so it is #### 42", None),
        ("five hashes\n##### 42", "five hashes\n##### 42"),
        (r"so \boxed{\frac{1}{2}} it is", r"\frac{1}{2}"),
        (r"thus $\boxed 5$, not 6", "5"),
        (r"thus \(\boxed -x^2\)", "-x^2"),
        (r"\boxed{3}, \boxed {x_{a_{1}}+1}", "x_{a_{1}}+1"),
        (" (1,2) ", "(1,2)"),
        (r"never \boxed{\frac{1}{2}", None),
    ],
)
def test_the_gold_is_cut_out_of_the_answer(text, gold):
    assert gold_answer(text) == gold


def test_rows_without_a_rewritten_answer_keep_their_own(tmp_path):
    rows = [
        {"problem": "a", "answer": "1", "answer_mv": None},
        {"problem": "b", "answer": "2", "answer_mv": "3"},
        {"problem": "c", "answer": "4"},
    ]
    assert [p.answer for p in load_rows(tmp_path, rows)] == ["1", "3", "4"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (27.0, "27"),
        (-3, "-3"),
        (0.1, "0.1"),
        (-0.0, "0"),
        (1e-7, "0.0000001"),
        (1e22, "1" + "0" * 22),
        (-(10**400) - 7, "-1" + "0" * 399 + "7"),
    ],
)
def test_numbers_become_text_without_exponent(tmp_path, value, text):
    assert load_rows(tmp_path, [{"problem": "a", "answer": value}])[0].answer == text


def test_integers_of_any_size_are_exact_wherever_they_stand(tmp_path):
    digits = "7" * 5000  # Python makes an int of 4300 at most
    path = tmp_path / "set.jsonl"
    path.write_text(f'{{"problem": "p", "answer": {digits}, "seed": -{digits}, "id": {digits}}}\n')
    [problem] = load_problems(str(path))
    assert (problem.answer, problem.id) == (digits, digits)


@pytest.mark.parametrize(
    ("number", "text"),
    [("2.00", "2"), ("-0.10", "-0.1"), ("1E+3", "1000"), ("-0.0", "0"), ("1E-9", "0.000000001")],
)
def test_decimals_are_numbers(number, text):
    assert gold_of(Decimal(number)) == text


@pytest.mark.parametrize("number", ["NaN", "sNaN", "Infinity"])
def test_what_is_no_finite_decimal_is_no_gold(number):
    assert gold_of(Decimal(number)) is None


def test_a_parquet_column_of_decimals_is_read(tmp_path):
    answers = pa.array([Decimal("2.00"), Decimal("-13.50")], pa.decimal128(10, 2))
    pq.write_table(pa.table({"question": ["a", "b"], "answer": answers}), tmp_path / "d.parquet")
    assert [p.answer for p in load_problems(str(tmp_path / "d.parquet"))] == ["2", "-13.5"]


def test_the_reward_model_may_be_json_text(tmp_path):
    def answer(value, **more):
        return load_rows(tmp_path, [{"prompt": "p", "reward_model": value, **more}])[0].answer

    assert answer(json.dumps({"style": "rule", "ground_truth": "2"})) == "2"
    assert answer('{"ground_truth": 1' + "0" * 5000 + "}") == "1" + "0" * 5000
    assert answer(' {"ground_truth": "so\\n#### 1,000"}') == "1000"
    for text in ('{"style": "rule"}', "{'ground_truth': '2'}", "2", '{"ground_truth": 2', "[]"):
        with pytest.raises(InputError, match="row 0: the reward_model must hold a ground_truth"):
            answer(text)


@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path, ending):
    path = tmp_path / f"set.{ending}"
    write(path, [{"problem": "p", "answer": "1"}])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_problems(str(path)) == [Problem(id="set-0", prompt=ask("p"), answer="1")]


def test_files_with_byte_order_marks_may_be_joined(tmp_path):
    line = b"\xef\xbb\xbf" + b'{"problem": "p", "answer": "1"}\n'
    (tmp_path / "set.jsonl").write_bytes(line + line)
    assert [p.answer for p in load_problems(str(tmp_path / "set.jsonl"))] == ["1", "1"]


def test_a_partitioned_parquet_folder_is_one_data_set(tmp_path):
    rows = {"level": [1, 2, 1], "problem": ["a", "b", "c"], "answer": ["1", "2", "3"]}
    pq.write_to_dataset(pa.table(rows), tmp_path / "set.parquet", partition_cols=["level"])
    (tmp_path / "set.parquet" / "_SUCCESS").touch()
    found = load_problems(str(tmp_path / "set.parquet"))
    assert {p.prompt[0]["content"]: p.answer for p in found} == {"a": "1", "b": "2", "c": "3"}
    assert [p.id for p in found] == ["set-0", "set-1", "set-2"]
    (tmp_path / "empty.parquet").mkdir()
    with pytest.raises(InputError, match="holds no problems"):
        load_problems(str(tmp_path / "empty.parquet"))


def test_a_parquet_folder_with_something_else_in_it_is_refused(tmp_path):
    (tmp_path / "set.parquet").mkdir()
    (tmp_path / "set.parquet" / "a.parquet").write_text("no parquet")
    with pytest.raises(InputError, match="not a folder of parquet files that can be read"):
        load_problems(str(tmp_path / "set.parquet"))


@pytest.mark.parametrize("column", ["problem", "answer", "other"])
def test_deep_nesting_is_one_sentence(tmp_path, column):
    row = {"problem": "p", "answer": "1", column: 0}
    text = json.dumps(row).replace(": 0", ": " + "[" * 100_000 + "]" * 100_000)
    for ending, content in (("jsonl", text), ("json", f"[{text}]")):
        (tmp_path / f"set.{ending}").write_text(content)
        with pytest.raises(InputError, match="nested too deeply"):
            load_problems(str(tmp_path / f"set.{ending}"))


@pytest.mark.parametrize("column", ["problem", "answer"])
def test_half_a_character_is_refused_with_the_row(tmp_path, column):
    row = json.dumps({"problem": "p", "answer": "1", column: "x\ud83d"})
    (tmp_path / "set.jsonl").write_text(row)
    with pytest.raises(InputError, match=r"row 0: the (prompt|answer) holds .*half of a character"):
        load_problems(str(tmp_path / "set.jsonl"))


def test_answers_are_told_from_prose():
    for answer in (
        r"\text{June 20}",
        "13 apples",
        r"\begin{pmatrix} a & b \end{pmatrix}",
        "x = -3",
    ):
        assert not reads_as_prose(answer)
    for text in ("Remark\nThis is easy, of course.", "We add both sides, then divide."):
        assert reads_as_prose(text)


def test_the_answers_of_gsm8k_are_cut_out_of_its_solutions(shared):
    for name in ("gsm8k_train", "gsm8k_test"):
        text = (shared / "data" / f"{name}.jsonl").read_text(encoding="utf-8")
        rows = [json.loads(line) for line in text.split("\n") if line]
        assert all(gold_answer(row["solution"]) == row["answer"] for row in rows)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\r", "\x0b", "\x1c"])
def test_only_a_newline_ends_a_line(tmp_path, separator):
    text = f"one{separator}two"
    row = json.dumps({"problem": "@", "answer": "1"}).replace("@", text.replace("\r", "\\r"))
    row = row.replace("\x0b", "\\u000b").replace("\x1c", "\\u001c")
    path = tmp_path / "set.jsonl"
    path.write_bytes(f"{row}\n\n{row}".encode())
    assert [p.prompt for p in load_problems(str(path))] == [ask(text)] * 2


def test_the_template_leaves_braces_of_latex_alone(tmp_path):
    template = "{problem}\nPut your final answer within \\boxed{}."
    rows = [{"problem": r"Find $\frac{a}{b}$ {problem}", "answer": "1"}]
    [problem] = load_rows(tmp_path, rows, template=template)
    wanted = "Find $\\frac{a}{b}$ {problem}\nPut your final answer within \\boxed{}."
    assert problem.prompt == ask(wanted)


def test_the_template_wraps_the_last_user_message(tmp_path):
    messages = [
        {"role": "system", "content": "s", "name": None},
        {"role": USER, "content": "first"},
        {"role": "assistant", "content": "a"},
        {"role": USER, "content": "last"},
    ]
    [problem] = load_rows(tmp_path, [{"prompt": messages, "answer": "1"}], template="<{problem}>")
    assert [m["content"] for m in problem.prompt] == ["s", "first", "a", "<last>"]
    assert all(set(message) == {"role", "content"} for message in problem.prompt)


def test_columns_may_have_other_names(tmp_path):
    rows = [{"id": 1, "uid": "x7", "task": "t", "gold": "5", "problem": "no", "answer": "no"}]
    names = {"prompt": "task", "answer": "gold", "id": "uid"}
    assert load_rows(tmp_path, rows, columns=names) == [
        Problem(id="x7", prompt=ask("t"), answer="5")
    ]


def test_limit_takes_the_first_and_a_seed_shuffles_before(tmp_path):
    rows = [{"problem": str(n), "answer": str(n)} for n in range(50)]
    ids = [f"set-{n}" for n in range(50)]

    def loaded(**options):
        return [problem.id for problem in load_rows(tmp_path, rows, **options)]

    assert loaded(limit=3) == ids[:3]
    assert loaded(seed=1) == loaded(seed=1) != loaded(seed=2)
    assert loaded(seed=1)[:5] == loaded(seed=1, limit=5)
    assert sorted(loaded(seed=1)) == sorted(ids)


GOOD = {"problem": "p", "answer": "1"}
REFUSED = {
    "empty": ([], "holds no problems"),
    "no answer": (
        [{"problem": "p", "anwser": "1"}],
        "'problem', 'anwser', the nearest is 'anwser'",
    ),
    "no problem": ([{"text": "p", "answer": "1"}], "no column 'prompt' or 'problem' or 'question'"),
    "answer list": ([GOOD, {**GOOD, "answer": ["1"]}], r"row 1: .* not \['1'\]"),
    "answer dict": ([{**GOOD, "answer": {"value": 1}}], "row 0"),
    "answer null": ([GOOD, GOOD, {**GOOD, "answer": None}], "row 2: .* not None"),
    "answer absent": ([GOOD, {"problem": "p"}], "row 1: .* not None"),
    "answer nan": ([{**GOOD, "answer": float("nan")}], "row 0: .* not nan"),
    "answer true": ([{**GOOD, "answer": True}], "row 0: .* not True"),
    "answer blank": ([{**GOOD, "answer": " "}], "row 0"),
    "hashes alone": ([{**GOOD, "answer": "well\n####"}], "row 0"),
    "open box": ([{**GOOD, "answer": r"\boxed{1"}], "row 0"),
    "no ground truth": ([{"prompt": "p", "reward_model": {"style": "rule"}}], "row 0"),
    "prompt number": ([GOOD, {**GOOD, "problem": 5}], "row 1: the prompt must be .* not 5"),
    "prompt blank": ([{**GOOD, "problem": "\n"}], "row 0"),
    "message": ([{**GOOD, "problem": [{"role": USER}]}], "row 0: a message needs"),
    "no user": ([{**GOOD, "problem": [{"role": "system", "content": "s"}]}], "role 'user'"),
    "ids": ([{**GOOD, "id": "a"}, GOOD, {**GOOD, "id": "a"}], "rows 0 and 2 share the id 'a'"),
    "not objects": ([GOOD, "p"], "row 1: expected an object"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_unusable_data_set_is_refused_with_the_place(tmp_path, case):
    rows, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as caught:
        load_rows(tmp_path, rows)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"template": "Solve it."}, "must hold {problem} once"),
        ({"limit": 0}, "at least 1"),
        ({"split": "test"}, "has no splits"),
        ({"columns": {"anser": "a"}}, "unknown column role 'anser'; did you mean 'answer'"),
        ({"columns": {"answer": "anwser"}}, "no column 'anwser' .* the nearest is 'answer'"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        load_rows(tmp_path, [GOOD], **options)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"problem": 1}\n{broken', "line 2 is not JSON"),
        ("a.json", '{"problem": 1}', "expected a list"),
        ("a.parquet", "text", "not a parquet file that can be read"),
        ("a.csv", "a,b", "unknown source"),
    ],
)
def test_a_broken_file_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        load_problems(str(tmp_path / name))


def test_unknown_sources_are_refused(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        load_problems(str(tmp_path / "absent.jsonl"))
    with pytest.raises(InputError, match="unknown source 'aritmetic'; give arithmetic"):
        load_problems("aritmetic")


def test_arithmetic_problems_are_the_generators_own():
    assert load_problems("arithmetic", limit=7, seed=3, split="test") == arithmetic_problems(
        7, seed=3, split="test"
    )
    plain = arithmetic_problems(1, seed=0, split="train")[0].prompt[-1]["content"]
    [wrapped] = load_problems("arithmetic", limit=1, template="What is {problem}?")
    assert wrapped.prompt[-1]["content"] == f"What is {plain}?"
    with pytest.raises(InputError, match="say by limit"):
        load_problems("arithmetic")
    with pytest.raises(InputError, match="no effect"):
        load_problems("arithmetic", limit=1, columns={"answer": "a"})


def test_reasoning_gym_without_the_package_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(InputError, match="pip install reasoning-gym"):
        load_problems("reasoning-gym:chain_sum", limit=1)


def test_options_are_for_reasoning_gym_alone():
    with pytest.raises(InputError, match="no effect on arithmetic"):
        load_problems("arithmetic", limit=1, options={"max_terms": 3})


def test_reasoning_gym_splits_differ_and_tasks_are_checked():
    pytest.importorskip("reasoning_gym")
    train = load_problems("reasoning-gym:chain_sum", limit=5, seed=1)
    assert train == load_problems("reasoning-gym:chain_sum", limit=9, seed=1)[:5]
    test = load_problems("reasoning-gym:chain_sum", limit=5, seed=1, split="test")
    short = load_problems(
        "reasoning-gym:chain_sum", limit=5, options={"min_terms": 2, "max_terms": 2}
    )
    assert all(len(p.prompt[0]["content"].partition(": ")[2].split()) == 4 for p in short)
    for options in ({"max_term": 3}, {"max_terms": 1}):
        with pytest.raises(InputError, match="chain_sum does not take"):
            load_problems("reasoning-gym:chain_sum", limit=1, options=options)
    assert not {p.prompt[0]["content"] for p in train} & {p.prompt[0]["content"] for p in test}
    with pytest.raises(InputError, match="did you mean 'chain_sum'"):
        load_problems("reasoning-gym:chainsum", limit=1)


HUB_CARD = """---
configs:
- config_name: main
  data_files: [{split: train, path: train.jsonl}, {split: test, path: test.jsonl}]
---
"""


def test_hub_data_sets_have_configurations_and_splits(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "owner" / "name"  # what `datasets` loads like a hub data set, without a net
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(HUB_CARD)
    for split in ("train", "test"):
        row = {"question": f"{split}: 6 times 7?", "answer": "6 * 7 = 42\n#### 42"}
        write(folder / f"{split}.jsonl", [row])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for options, split in [({}, "train"), ({"split": "test"}, "test")]:
        [problem] = load_problems("owner/name:main", **options)
        wanted = ask(f"{split}: 6 times 7?")
        assert problem == Problem(id="owner/name:main-0", prompt=wanted, answer="42")
    with pytest.raises(InputError, match="cannot load 'owner/name', split 'tset'"):
        load_problems("owner/name", split="tset")
    with pytest.raises(InputError, match="cannot load 'owner/name:mian'"):
        load_problems("owner/name:mian")


@pytest.mark.parametrize(
    ("name", "count", "last"),
    [
        ("aime25", 30, "240"),
        ("math500", 500, r"106^\circ"),
        ("gsm8k_train", 7473, None),
        ("dapo_math_17k", 17243, "9"),
        ("olympiadbench", 675, "11"),
    ],
)
def test_the_benchmarks_load_whole(shared, name, count, last):
    path = shared / "data" / f"{name}.jsonl"
    problems = load_problems(str(path))
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    assert len(problems) == count
    assert [p.id for p in problems] == [row["id"] for row in rows]
    golds = [p.answer if isinstance(p.answer, str) else p.answer["answer"] for p in problems]
    assert golds == [row.get("answer_mv", row["answer"]) for row in rows]
    assert last is None or golds[-1] == last
