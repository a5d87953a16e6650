"""`maspo eval` and `maspo score` as a user meets them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import maspo
from maspo.cli import main
from maspo.data.arithmetic import arithmetic_problems
from maspo.files import encoded

SUMS = arithmetic_problems(24, seed=3, split="test")
ASKED = ("--benchmarks", "sums.jsonl", "--samples", 4, "--batch-size", 6, "--max-tokens", 40)
FILES = {"eval.json", "problems.jsonl", "samples.jsonl", "verdicts.jsonl", "scores.json", ".lock"}


def start(*words, folder):
    """Start `maspo` in a process of its own."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(Path(maspo.__file__).parents[1])
    command = [sys.executable, "-m", "maspo", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, cwd=folder, env=environment, **pipes)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run `maspo` in this process; give exit code, standard output and standard error."""

    def call(*words, folder):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["maspo", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code or 0, *capsys.readouterr()

    return call


def lines(path):
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def write_sums(folder, problems=SUMS):
    rows = [
        {"id": one.id, "problem": one.prompt[0]["content"], "answer": one.answer}
        for one in problems
    ]
    (folder / "sums.jsonl").write_bytes(b"".join(map(encoded, rows)))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluations")
    write_sums(folder)
    return folder


@pytest.fixture(scope="module")
def whole(place):
    """An evaluation that nothing interrupted, and what it showed."""
    process = start("eval", "embedded", *ASKED, "--out", "whole", folder=place)
    shown, complaint = process.communicate()
    assert process.returncode == 0, shown + complaint
    return place / "whole", shown


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of that evaluation which a test may spoil."""
    for file in whole[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_everything_is_on_file(whole) -> None:
    out, shown = whole
    assert {file.name for file in out.iterdir()} == FILES
    settings = json.loads((out / "eval.json").read_text())
    assert settings["template"] == "{problem}" and settings["engine"] == "transformers"
    assert settings["max_tokens"] == 40 and settings["top_p"] == 0.95
    assert settings["provenance"]["versions"]["torch"]
    drawn, verdicts = lines(out / "samples.jsonl"), lines(out / "verdicts.jsonl")
    keys = {(one["benchmark"], one["problem_id"], one["index"]) for one in drawn}
    assert keys == {("sums", problem.id, index) for problem in SUMS for index in range(4)}
    assert len(drawn) == len(verdicts) == 96
    answers = {problem.id: problem.answer for problem in SUMS}
    texts = {(one["problem_id"], one["index"]): one["text"] for one in drawn}
    for one in verdicts:  # the embedded model ends in a box, or has no answer
        boxed = rf"\boxed{{{answers[one['problem_id']]}}}"
        right = texts[one["problem_id"], one["index"]].endswith(boxed)
        assert (one["outcome"] == "correct") == right
    scores = json.loads((out / "scores.json").read_text())
    share = sum(one["outcome"] == "correct" for one in verdicts) / 96
    assert 0.1 < share < 0.9, "so that neither all nor none would pass"
    assert scores["benchmarks"]["sums"]["metrics"]["avg@4"]["value"] == pytest.approx(share)
    assert scores["macro"]["metrics"]["avg@4"]["value"] == pytest.approx(share)
    assert scores["settings"]["seed"] == 0 and scores["versions"]["math-verify"]
    for word in ("avg@4", "pass@4", "maj@4", "truncated", f"{100 * share:.1f}%", "{problem}"):
        assert word in shown


def test_killed_at_any_moment_it_continues_without_loss_or_double(whole, place, run) -> None:
    """The file of a run killed three times is the file of the run that never was, byte by byte."""
    words = ("eval", "embedded", *ASKED, "--out", "killed")
    file, expected = place / "killed" / "samples.jsonl", (whole[0] / "samples.jsonl").read_bytes()
    for share in (0.0, 0.3, 0.7):
        process = start(*words, folder=place)
        while not file.exists() or file.stat().st_size <= share * len(expected):
            assert process.poll() is None, process.communicate()
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert len(file.read_bytes()) < len(expected), "killed too late to show anything"
    # A kill inside the write of a chunk is too rare to wait for.
    torn = file.read_bytes()[:-25]
    file.write_bytes(torn)
    code, shown, complaint = run(*words, folder=place)
    assert code == 0, complaint
    assert file.read_bytes() == expected
    there = torn.count(b"\n")
    assert f"{there} samples are there, {96 - there} to draw" in shown
    assert (place / "killed" / "verdicts.jsonl").read_bytes() == (
        whole[0] / "verdicts.jsonl"
    ).read_bytes()


def test_a_finished_evaluation_is_not_drawn_again(whole, place, run) -> None:
    out, _ = whole
    before = (out / "samples.jsonl").stat()
    code, shown, _ = run("eval", "embedded", *ASKED, "--out", "whole", folder=place)
    assert code == 0 and "to draw" not in shown and "avg@4" in shown
    after = (out / "samples.jsonl").stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_another_setting_or_problem_is_not_continued(whole, place, tmp_path, run) -> None:
    for words, message in [
        (("--seed", 1), "whole holds an evaluation with seed 0, not 1"),
        (("--temperature", 0.5), "temperature 1.0, not 0.5"),
        (("--limit", 3), "limit None, not 3"),
    ]:
        code, _, complaint = run(
            "eval", "embedded", *ASKED, *words, "--out", "whole", folder=place
        )  # fmt: skip
        assert code == 2 and message in complaint and len(complaint.splitlines()) == 1
    write_sums(tmp_path, SUMS[1:])
    code, _, complaint = run(
        "eval", "embedded", *ASKED, "--out", whole[0], folder=tmp_path
    )  # fmt: skip
    assert code == 2 and "the problems are not those" in complaint


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--benchmarks", "aime42"), "unknown benchmark 'aime42'; did you mean"),
        (("--benchmarks", "absent.jsonl"), "there is no file absent.jsonl"),
        (("--max-tokens", 600), "context of 512 tokens leaves"),
        (("--samples", 0), "samples must be at least 1"),
        (("--template", "solve it"), "the template must hold {problem} once"),
        (("--limit", 0), "limit must be at least 1"),
        (("--out", "sums.jsonl"), "sums.jsonl is not a folder"),
        (("--out", "."), "holds something else"),
    ],
)
def test_bad_input_gets_one_sentence_and_leaves_nothing(tmp_path, words, message, run) -> None:
    write_sums(tmp_path)
    code, _, complaint = run("eval", "embedded", *ASKED, "--out", "out", *words, folder=tmp_path)
    assert code == 2 and message in complaint, complaint
    assert complaint.startswith("maspo: ") and len(complaint.strip().splitlines()) == 1
    assert {entry.name for entry in tmp_path.iterdir()} == {"sums.jsonl"}


def spoiled(rows, **changes):
    return b"".join(encoded(row | changes) for row in rows)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: b"", "holds 0 of 96 samples; run the same `maspo eval` again"),
        (lambda content: content[: content.rfind(b"\n", 0, -1) + 1], "holds 95 of 96 samples"),
        (lambda content: content[:-9], "holds 95 of 96 samples"),
        (lambda content: content + content[: content.find(b"\n") + 1], "line 97: "),
        (lambda content: content.replace(b'"index": 3', b'"index": 4'), "no sample of this"),
    ],
)
def test_a_spoiled_samples_file_is_not_scored(copy, spoil, message, run) -> None:
    file = copy / "samples.jsonl"
    file.write_bytes(spoil(file.read_bytes()))
    (copy / "scores.json").unlink()
    code, _, complaint = run("score", copy, folder=copy)
    assert code == 2 and message in complaint and len(complaint.strip().splitlines()) == 1
    assert not (copy / "scores.json").exists()


def test_scoring_again_needs_no_model_and_names_what_changed(copy, run) -> None:
    (copy / "eval.json").write_text(
        (copy / "eval.json").read_text().replace('"model": "embedded"', '"model": "./gone"')
    )
    was = (copy / "verdicts.jsonl").read_bytes()
    verdicts = lines(copy / "verdicts.jsonl")
    changed = [one for one in verdicts if one["outcome"] == "correct"][:3]
    for one in changed:  # as if another verifier had judged
        one["outcome"] = "wrong"
    (copy / "verdicts.jsonl").write_bytes(spoiled(verdicts))
    code, shown, complaint = run("score", copy / "samples.jsonl", folder=copy)
    assert code == 0, complaint
    assert "3 verdicts changed" in shown and "wrong" in shown
    for one in changed:
        assert f"{one['problem_id']}[{one['index']}]" in shown
    assert (copy / "verdicts.jsonl").read_bytes() == was
    assert json.loads((copy / "scores.json").read_text())["model"] == "./gone"
    assert "changed" not in run("score", copy, folder=copy)[1]


def test_two_evaluations_are_compared_problem_by_problem(whole, copy, run) -> None:
    """In the copy one wrong sample of each of six problems is made right: +6/96 on avg@4."""
    drawn, boxes = lines(copy / "samples.jsonl"), {p.id: p.answer for p in SUMS}
    wrong = {
        (one["problem_id"], one["index"])
        for one in lines(copy / "verdicts.jsonl")
        if one["outcome"] != "correct"
    }
    mended = dict(sorted(wrong))  # one sample of a problem
    for problem in list(mended)[:6]:
        (one,) = [d for d in drawn if (d["problem_id"], d["index"]) == (problem, mended[problem])]
        one["text"] = rf"\boxed{{{boxes[problem]}}}"
    (copy / "samples.jsonl").write_bytes(spoiled(drawn))
    code, shown, complaint = run("score", copy, "--against", whole[0], folder=copy)
    assert code == 0, complaint
    assert "minus" in shown and f"+{100 * 6 / 96:.1f}" in shown
    (copy / "eval.json").unlink()
    code, _, complaint = run("score", copy, folder=copy)
    assert code == 2 and "holds no evaluation: it has no eval.json" in complaint
