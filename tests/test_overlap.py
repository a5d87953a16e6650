"""Benchmark problems in training sets: by hand, and on the data sets everybody uses."""

import json

import pytest
from test_cli import run

from maspo.data import Problem, load_problems
from maspo.data.overlap import normalised, overlap, tokens
from maspo.errors import InputError
from maspo.lab.scores.overlap import find, write_clean

TWENTY = "a bag has nine red and four blue balls we draw two without putting them back find the whole chance"
#         20 words: 8 windows of 13


def problem(identifier, text, *before):
    messages = (*before, {"role": "user", "content": text})
    return Problem(id=identifier, prompt=messages, answer="1")


def found(train, bench):
    rows = [problem(f"t{i}", text) for i, text in enumerate(train)]
    result = overlap(rows, {"b": [problem(f"b{i}", text) for i, text in enumerate(bench)]})["b"]
    assert result.problems == len(bench)
    return result


def test_the_text_has_20_words():
    assert len(TWENTY.split()) == len(tokens(TWENTY)) == 20


@pytest.mark.parametrize(
    ("text", "reduced", "parts"),
    [
        (r"Find $\dfrac{1}{2}x$.", "findfrac12x", ["find", "frac", "1", "2", "x"]),
        (r"\[ \left( a \right) \]", "a", ["a"]),
        ("x^2 <= 10%, n! = 3", "x^2<=10n=3", [*"x^2<=", "10", "n", "=", "3"]),
        ("求 x2 的值", "求x2的值", ["求", "x", "2", "的", "值"]),
        ("a_1\u2028b\tC", "a1bc", ["a", "1", "b", "c"]),
        (r"1\,000~m\quad\bigl( x \bigr)", "1000mx", ["1", "000", "m", "x"]),
        ("３−x\u200b ≤ 4", "3-xle4", ["3", "-", "x", "le", "4"]),
        (r"a/b \leq \cfrac{c}{d}", "fracablefraccd", ["frac", "a", "b", "le", "frac", "c", "d"]),
        ("", "", []),
    ],
)
def test_what_is_compared(text, reduced, parts):
    assert normalised(text) == reduced
    assert tokens(text) == parts


def test_the_same_text_in_another_layout_is_exact():
    result = found([r"Is $\tfrac{1}{2}$ odd?", "no"], [r"is \( \dfrac12 \) odd?", "is 1/3 odd?"])
    [match] = result.matches
    assert (match.problem_id, match.exact, match.share, match.train_ids) == (
        "b0",
        True,
        0.0,
        ("t0",),
    )
    assert result.exact == ["b0"] and result.half == []


@pytest.mark.parametrize(
    ("words", "share", "listed"),
    [(20, 1.0, True), (16, 0.5, True), (15, 3 / 8, False), (13, 1 / 8, False), (12, 0.0, False)],
)
def test_windows_count_from_one_half_on(words, share, listed):
    result = found([" ".join(TWENTY.split()[:words]) + " of something else"], [TWENTY])
    assert result.exact == (["b0"] if words == 20 else [])  # it stands whole in the other
    assert result.half == (["b0"] if listed else [])
    assert [match.share for match in result.matches] == ([share] if listed else [])


def test_windows_of_several_training_problems_add_up_but_none_holds_half_alone():
    first, last = TWENTY.split()[:15], TWENTY.split()[5:]  # 3 windows each, of 8
    [match] = found([" ".join(first), " ".join(last), TWENTY[:9]], [TWENTY]).matches
    assert match.share == 6 / 8 and match.train_ids == ()
    [match] = found([" ".join(first), TWENTY + " now"], [TWENTY]).matches
    assert match.share == 1 and match.train_ids == ("t1",)


def test_the_last_user_message_counts():
    system, hint = {"role": "system", "content": "x"}, {"role": "assistant", "content": "y"}
    train = [problem("t", TWENTY, system, {"role": "user", "content": "hello"}, hint)]
    result = overlap(train, {"b": [problem("same", TWENTY)], "c": [problem("other", "hello")]})
    assert result["b"].exact == result["b"].half == ["same"] and result["c"].matches == ()


def test_a_text_that_stands_whole_in_another_is_exact_however_it_is_laid_out():
    asked = r"Let $x \le \frac{a}{b}$ be a number with $x - 1 > 0$. Find $\left( x \right)$."
    written = [
        "Problem: " + asked + " Please reason step by step.",
        asked.replace(r"\le ", "≤ ").replace("-", "−").replace(r"\frac{a}{b}", "a/b"),
        asked.replace(" ", r"\, ").replace(r"\left(", r"\bigl(").replace(r"\right)", r"\bigr)"),
        asked.replace(" ", "\u200b "),
    ]
    [match] = found(written, [asked]).matches
    assert match.exact and match.train_ids == ("t0", "t1", "t2", "t3")
    # ... but a short one only where it is all there is.
    assert found(["Problem: is 7 odd?"], ["is 7 odd?"]).matches == ()


EXPECTED = {  # exact / half of the 13-token windows
    "dapo_math_17k": {"amc23": (13, 23), "math500": (8, 21), "olympiadbench": (37, 59)},
    "math_train": {"math500": (0, 11), "olympiadbench": (1, 2)},
    "gsm8k_train": {"gsm8k_test": (0, 1)},
}
WRITTEN = (  # a problem as other collections write it
    lambda text: text.replace(r"\frac", r"\dfrac").replace("(", r"\left(").replace(")", r"\right)"),
    lambda text: text.replace(" ", r"\, "),
    lambda text: (
        text.replace(" = ", r"\quad=\quad ").replace("(", r"\bigl(").replace(")", r"\bigr)")
    ),
    lambda text: text.replace("-", "\u2212").replace(r"\le ", "≤ ").replace(r"\cdot", "·"),
    lambda text: text.replace(r"\frac", r"\cfrac").replace(" ", "\u00a0"),
    lambda text: "".join(
        chr(ord(s) + 0xFEE0) if "0" <= s <= "9" or "a" <= s <= "z" else s for s in text
    ),
    lambda text: (
        text + "\n\nPlease reason step by step, and put your final answer within \\boxed{}."
    ),
    lambda text: f"**Problem:** {text.upper()}",
    lambda text: "\u200b".join(text.split(" ")).replace("$", r"\(", 1).rstrip("."),
    lambda text: f"Solve the following.\n{text}\nThe answer is an integer. Give it.",
)


def test_planted_problems_of_a_benchmark_are_cleaned_away(shared, tmp_path):
    data = shared / "data"
    others = [p.prompt[-1]["content"] for p in load_problems(str(data / "gsm8k_train.jsonl"))[:200]]
    texts = [p.prompt[-1]["content"] for p in load_problems(str(data / "math500.jsonl"))[::5]]
    planted = [WRITTEN[i % len(WRITTEN)](text) for i, text in enumerate(texts)]
    assert len(planted) == 100
    rows(tmp_path / "train.jsonl", [*others, *planted])
    found = find(str(tmp_path / "train.jsonl"), ["math500"], data)
    write_clean(tmp_path / "clean.jsonl", str(tmp_path / "train.jsonl"), found)
    kept = [json.loads(l)["problem"] for l in (tmp_path / "clean.jsonl").read_text().splitlines()]
    left = set(planted) & set(kept)
    assert len(kept) - len(left) == len(others)
    assert len(left) <= 2 and all(len(normalised(text)) < 150 for text in left)


NAMES = ("aime24", "aime25", "amc23", "math500", "minerva_math", "olympiadbench", "gsm8k_test")


@pytest.mark.parametrize("train", EXPECTED)
def test_known_overlaps_are_found(shared, train):
    data = shared / "data"
    benchmarks = {name: load_problems(str(data / f"{name}.jsonl")) for name in NAMES}
    result = overlap(load_problems(str(data / f"{train}.jsonl")), benchmarks)
    counts = {name: (len(one.exact), len(one.half)) for name, one in result.items()}
    assert counts == {name: EXPECTED[train].get(name, (0, 0)) for name in NAMES}


# --- the command -------------------------------------------------------------------------------


def rows(path, texts):
    lines = [{"problem": text, "answer": "1", "level": i} for i, text in enumerate(texts)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def test_the_command_lists_ids_and_cleans(tmp_path):
    rows(tmp_path / "train.jsonl", ["one", TWENTY + " now", "two  $x$", "three"])
    rows(tmp_path / "bench.jsonl", [TWENTY, "Two x", "four"])
    done = run(
        "data", "overlap", "train.jsonl", "bench.jsonl", "-o", "found.json",
        "--clean", "clean.jsonl", folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "bench-0, bench-1" in done.stdout and "2 rows kept, 2 left out" in done.stdout
    content = json.loads((tmp_path / "found.json").read_text())["benchmarks"]["bench"]
    assert (content["problems"], content["exact"], content["half_of_13_grams"]) == (
        3, ["bench-0", "bench-1"], ["bench-0"],
    )  # fmt: skip
    assert [m["train_ids"] for m in content["matches"]] == [["train-1"], ["train-2"]]
    kept = [json.loads(line) for line in (tmp_path / "clean.jsonl").read_text().splitlines()]
    assert [(row["problem"], row["level"]) for row in kept] == [("one", 0), ("three", 3)]


def test_benchmarks_by_name_come_from_a_folder(tmp_path):
    rows(tmp_path / "amc23.jsonl", [TWENTY])
    [(name, one)] = find(str(tmp_path / "amc23.jsonl"), ["amc23"], tmp_path).items()
    assert (name, one.problems, one.exact) == ("amc23", 1, ["amc23-0"])


@pytest.mark.parametrize(
    ("train", "bench", "message"),
    [
        ("absent.jsonl", "bench.jsonl", "absent.jsonl"),
        ("bench.jsonl", "amc24", "did you mean 'amc23'"),
        ("empty.jsonl", "bench.jsonl", "holds no problems"),
        ("bench.jsonl", "amc23", "amc23.jsonl"),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path, monkeypatch, train, bench, message):
    monkeypatch.chdir(tmp_path)
    rows(tmp_path / "bench.jsonl", ["one"])
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(InputError, match=message) as caught:
        find(train, [bench], tmp_path)
    assert "\n" not in str(caught.value)


def test_only_a_file_can_be_cleaned(tmp_path):
    with pytest.raises(InputError, match="--clean needs a local training file"):
        write_clean(tmp_path / "clean.jsonl", "owner/name", {})
