"""Rows of a data set, wherever it lies: a local file, the hub, or a procedural generator."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from maspo.data.golds import parse_exact_json
from maspo.errors import InputError, unknown

_TEST_OFFSET = 2**30  # reasoning-gym seeds item i with seed + i, so the splits share no seed


def read_file(path: Path) -> list[dict[str, Any]]:
    """Read a .jsonl, .json (a list of objects) or .parquet file, or a folder of parquet files.

    Integers of any size stay exact; a byte order mark is no part of the text. Raises InputError,
    which names what is wrong.
    """
    if not (path.is_file() or (path.suffix == ".parquet" and path.is_dir())):
        raise InputError(f"there is no file {path}")
    try:
        rows = _READERS[path.suffix](path)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InputError(f"{path}, row {number}: expected an object, not {row!r:.80}")
    return rows


def is_file(source: str) -> bool:
    """Whether the source names a file which `read_file` knows how to read."""
    return Path(source).suffix in _READERS


def read_hub(source: str, split: str) -> list[dict[str, Any]]:
    """Load one split of a hub data set, `owner/name` or `owner/name:config`."""
    from datasets import load_dataset

    name, _, config = source.partition(":")
    try:
        dataset = load_dataset(name, config or None, split=split)
    except (
        ValueError,
        OSError,
    ) as error:  # unknown name, configuration or split; no connection
        reason = (str(error) or repr(error)).splitlines()[0]
        raise InputError(f"cannot load {source!r}, split {split!r}: {reason}") from error
    return list(dataset)  # type: ignore[arg-type]


def read_reasoning_gym(
    task: str, *, count: int, seed: int, split: str, options: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Generate problems of a reasoning-gym task as rows with `question` and `answer`."""
    try:
        import reasoning_gym  # pyright: ignore[reportMissingImports]
        from reasoning_gym.factory import DATASETS  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise InputError(
            "this source needs a package: pip install reasoning-gym==0.1.25"
        ) from error
    if task not in DATASETS:
        raise unknown("reasoning-gym task", task, DATASETS)
    if split not in ("train", "test"):
        raise unknown("split", split, ("train", "test"))
    offset = _TEST_OFFSET if split == "test" else 0
    try:
        generated = reasoning_gym.create_dataset(task, size=count, seed=seed + offset, **options)
    except (AssertionError, TypeError, ValueError) as error:
        raise InputError(f"reasoning-gym's {task} does not take {dict(options)}: {error}") from None
    return [{"question": item["question"], "answer": item["answer"]} for item in generated]


def _read_jsonl(path: Path) -> list[Any]:
    # Not splitlines: texts may hold U+2028 and other characters it takes for line ends.
    lines = path.read_text(encoding="utf-8").split("\n")
    # A byte order mark may begin any line: files that have one are joined.
    texts = (line.removeprefix("\ufeff") for line in lines)
    return [_decode(text, f"{path}, line {n}") for n, text in enumerate(texts, 1) if text.strip()]


def _read_json(path: Path) -> list[Any]:
    rows = _decode(path.read_text(encoding="utf-8-sig"), str(path))
    if not isinstance(rows, list):
        raise InputError(f"{path}: expected a list of objects")
    return rows


def _read_parquet(path: Path) -> list[Any]:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    try:
        return read_table(path).to_pylist()
    except (ArrowException, ValueError) as error:  # ValueError: a timestamp finer than Python's
        kind = "folder of parquet files" if path.is_dir() else "parquet file"
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is not a {kind} that can be read: {reason}") from error


def _decode(text: str, where: str) -> Any:
    try:
        return parse_exact_json(text)
    except ValueError as error:
        raise InputError(f"{where} is not JSON: {error}") from error
    except RecursionError as error:
        raise InputError(f"{where} is nested too deeply to be read") from error


_READERS: dict[str, Callable[[Path], list[Any]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
