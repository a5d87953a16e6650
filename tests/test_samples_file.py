"""The samples file: what is read, refused and cut off, and who may write."""

import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from maspo.errors import InputError
from maspo.evaluation.samples import appending, read_samples
from maspo.files import encoded
from maspo.sampling import Sample

KNOWN = {"sums": {"a", "b"}, "others": {"a"}}


def sample(problem_id="a", index=0, text="1\u2028\x00\r 2 \ud83d\n"):
    return Sample(
        problem_id=problem_id, index=index, seed=7, text=text, tokens=3, finish="stop"
    )  # fmt: skip


def line(benchmark="sums", **changes):
    return encoded({"benchmark": benchmark, **asdict(sample()), **changes})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "samples.jsonl"


def test_what_was_appended_is_read_back_whatever_its_characters(path) -> None:
    drawn = [sample(), sample(index=1), sample("b")]
    with appending(path) as append:
        append("sums", drawn[:2])
        append("sums", drawn[2:])
        append("others", [sample()])
    found = read_samples(path, KNOWN, 2)
    assert list(found["sums"].values()) == drawn
    assert found["others"] == {("a", 0): sample()}
    assert path.read_bytes().count(b"\n") == 4


def test_an_absent_and_an_empty_file_hold_no_samples(path) -> None:
    assert read_samples(path, KNOWN, 2) == {"sums": {}, "others": {}}
    path.write_bytes(b"")
    assert read_samples(path, KNOWN, 2) == {"sums": {}, "others": {}}


def test_a_line_broken_off_anywhere_is_passed_over_then_cut(path) -> None:
    first, second = line(), line(problem_id="b")
    for end in range(len(first) + 1, len(first) + len(second)):
        path.write_bytes((first + second)[:end])
        assert list(read_samples(path, KNOWN, 2)["sums"]) == [("a", 0)]
        with appending(path):
            assert path.read_bytes() == first
    path.write_bytes(first[:20])
    with appending(path):
        assert path.read_bytes() == b""


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (b"{}\n", "line 2 is not a sample"),
        (b"[1]\n", "line 2 is not a sample"),
        (b'{"benchmark": "su\n', "line 2 is not JSON"),
        (b"\x00" * 40 + b"\n", "line 2 is not JSON"),
        (b"\xff\xfe\n", "line 2 is not UTF-8"),
        (line(extra=1), "line 2 is not a sample"),
        (line(index="0"), "line 2: index must be of type int"),
        (line(text=None), "line 2: text must be of type str"),
        (line(), "line 2: benchmark 'sums', problem 'a', index 0 is there twice"),
        (line(problem_id="c"), "problem 'c', index 0 is no sample of this evaluation"),
        (line("elsewhere"), "benchmark 'elsewhere', problem 'a', index 0 is no sample"),
        (line("others", problem_id="b"), "is no sample of this evaluation"),
        (line(index=2), "index 2 is no sample of this evaluation"),
        (line(index=-1), "index -1 is no sample of this evaluation"),
    ],
)
def test_a_line_that_does_not_belong_is_refused(path, broken, message) -> None:
    path.write_bytes(line() + broken)
    with pytest.raises(InputError, match=message):
        read_samples(path, KNOWN, 2)


def test_two_processes_do_not_write_one_file(path) -> None:
    code = "import sys, pathlib; from maspo.evaluation.samples import appending\n"
    code += "with appending(pathlib.Path(sys.argv[1])): pass"
    command = [sys.executable, "-c", code, str(path)]
    with appending(path) as append:
        append("sums", [sample()])
        with path.open("ab") as torn:
            torn.write(b"half a li")  # what the other must not cut off
        other = subprocess.run(command, capture_output=True, text=True)
        assert "another process is adding samples" in other.stderr
        assert path.read_bytes().endswith(b"half a li")
    assert subprocess.run(command).returncode == 0


def test_a_lone_surrogate_is_written_as_its_escape() -> None:
    assert encoded({"text": "\ud83d"}) == b'{"text": "\\ud83d"}\n'
    assert json.loads(encoded({"text": "\ud83d"})) == {"text": "\ud83d"}
