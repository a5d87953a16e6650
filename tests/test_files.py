"""Files: whole or not at all, lines that are broken or torn, and who may claim a folder."""

import math
import os
import subprocess
import sys

import pytest

from maspo import files
from maspo.errors import InputError


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_json(path, {"a": 2})
    monkeypatch.undo()
    assert files.read_json(path) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_numbers_that_json_lacks_become_null_and_surrogates_escapes(tmp_path):
    path = tmp_path / "a.jsonl"
    files.append_lines(path, [{"x": [math.nan, -math.inf, 1.5], "text": "\ud83d \u2028 é"}])
    assert path.read_bytes() == (
        b'{"x": [null, null, 1.5], "text": "\\ud83d \xe2\x80\xa8 \xc3\xa9"}\n'
    )
    assert files.read_lines(path) == [{"x": [None, None, 1.5], "text": "\ud83d \u2028 é"}]


def test_a_torn_line_is_refused_left_out_or_cut_off(tmp_path):
    path = tmp_path / "a.jsonl"
    whole, rest = b'{"a": 1}\n', b'{"a": "\xc3\xa9"}\n'
    for end in range(1, len(rest) - 1):
        path.write_bytes(whole + rest[:end])
        assert files.read_lines(path, torn=True) == [{"a": 1}]
        with pytest.raises(InputError, match=r"a\.jsonl, line 2 is not (JSON|UTF-8)"):
            files.read_lines(path)
    path.write_bytes(whole + rest[:-1])  # whole but for the line end: no reader needs that
    assert files.read_lines(path) == [{"a": 1}, {"a": "é"}]
    files.cut_torn_line(path)
    assert path.read_bytes() == whole
    path.write_bytes(rest[:5])
    files.cut_torn_line(path)
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]\n", "line 1: expected an object, not"),
        (b"{}\n\n{\n", "line 3 is not JSON"),
        (b"9" * 5000 + b"\n", "line 1 is not JSON"),
        (b"[" * 100_000 + b"\n", "line 1 is not JSON"),
        (b"\xff\xfe\n", "line 1 is not UTF-8: invalid start byte at byte 0"),
    ],
)
def test_a_broken_line_is_named(tmp_path, content, message):
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=message):
        files.read_lines(tmp_path / "a.jsonl")


def test_an_absent_file_of_lines_is_empty_and_another_is_an_error(tmp_path):
    assert files.read_lines(tmp_path / "absent.jsonl") == []
    with pytest.raises(InputError, match="there is no file"):
        files.read_json(tmp_path / "absent.json")


def test_a_folder_gets_its_name_when_it_is_whole(tmp_path):
    place = tmp_path / "model"

    def half(folder):
        (folder / "weights").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write_folder(place, half)
    assert not place.exists()
    files.write_folder(place, lambda folder: (folder / "weights").write_text("one"))
    files.write_folder(place, lambda folder: (folder / "other").write_text("two"))
    assert [entry.name for entry in place.iterdir()] == ["other"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_one_process_claims_a_folder_and_its_death_frees_it(tmp_path):
    code = (
        "import sys, pathlib; from maspo.files import claimed\n"
        "with claimed(pathlib.Path(sys.argv[1]), 'busy'):\n"
        "    print('claimed', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout.readline() == b"claimed\n"
    with pytest.raises(InputError, match="busy"), files.claimed(tmp_path, "busy"):
        pass
    other.kill()
    other.communicate()
    with files.claimed(tmp_path, "busy"):
        pass
    with files.claimed(tmp_path, "busy"):
        pass
