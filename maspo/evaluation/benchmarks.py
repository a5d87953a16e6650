"""Benchmarks by name: where their problems lie, and which rules of judging go with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from maspo.data import Problem, load_problems, sources
from maspo.data.columns import problems_from_rows, with_rules
from maspo.errors import InputError, unknown


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark that is known by name."""

    file: str
    """Its file in a local folder of benchmarks."""
    hub: str
    """The hub data set, `owner/name` or `owner/name:config`."""
    split: str
    columns: Mapping[str, str] = field(default_factory=dict)
    """Roles whose column in the hub data set has an unusual name."""
    relative: float | None = None
    """Numbers that differ by no more than this share of the reference answer are equal."""


BENCHMARKS = {
    "aime24": Benchmark(file="aime24.jsonl", hub="HuggingFaceH4/aime_2024", split="train"),
    "aime25": Benchmark(file="aime25.jsonl", hub="math-ai/aime25", split="test"),
    "amc23": Benchmark(file="amc23.jsonl", hub="math-ai/amc23", split="test"),
    "math500": Benchmark(file="math500.jsonl", hub="HuggingFaceH4/MATH-500", split="test"),
    "minerva": Benchmark(
        file="minerva_math.jsonl",
        hub="math-ai/minervamath",
        split="test",
        # As the grader that was published with this file: Qwen2.5-Math, isclose(rel_tol=1e-4).
        relative=1e-4,
    ),
    "olympiadbench": Benchmark(
        file="olympiadbench.jsonl",
        hub="Hothan/OlympiadBench:OE_TO_maths_en_COMP",
        split="train",
        columns={"answer": "final_answer"},
    ),
    "gsm8k": Benchmark(file="gsm8k_test.jsonl", hub="openai/gsm8k:main", split="test"),
}
"""The benchmarks by name. The hub's names, splits and columns are those that public evaluation code
uses; where this was written the hub could not be reached, so loading from it is untested."""


def load_benchmarks(
    names: Sequence[str],
    *,
    data: Path | None = None,
    limit: int | None = None,
    columns: Mapping[str, str] | None = None,
) -> dict[str, list[Problem]]:
    """Load benchmarks by name, and a user's own files, each called by its stem.

    Args:
        names: names in `BENCHMARKS`, or paths ending in .jsonl, .json or .parquet.
        data: a folder that holds the files of the named benchmarks; None loads them from the hub.
        limit: the most problems of each, from its beginning.
        columns: of the user's own files, as `load_problems` takes them.

    Raises InputError for an unknown name, an absent file, a benchmark given twice, and whatever
    `load_problems` refuses, such as problems without answers.
    """
    if data is not None and not data.is_dir():
        raise InputError(f"there is no folder {data} to take benchmarks from")
    found: dict[str, list[Problem]] = {}
    for name in names:
        own = sources.is_file(name)
        label = Path(name).stem if own else name
        if label in found:
            raise InputError(f"two benchmarks are called {label!r}")
        found[label] = (
            load_problems(name, limit=limit, columns=columns) if own else _named(name, data)[:limit]
        )
    if not found:
        raise InputError(f"no benchmark given; known: {', '.join(BENCHMARKS)}")
    return found


def _named(name: str, data: Path | None) -> list[Problem]:
    if name not in BENCHMARKS:
        raise unknown("benchmark", name, BENCHMARKS)
    benchmark = BENCHMARKS[name]
    if data is None:
        rows = [plain_answer(row) for row in sources.read_hub(benchmark.hub, benchmark.split)]
        problems = problems_from_rows(
            rows, name=name, template="{problem}", columns=benchmark.columns
        )
    else:
        file = data / benchmark.file
        if not file.is_file():
            raise InputError(f"benchmark {name} needs the file {benchmark.file}, absent in {data}")
        problems = load_problems(str(file))
    if benchmark.relative is None:
        return problems
    rule = benchmark.relative
    return [replace(one, answer=with_rules(one.answer, relative=rule)) for one in problems]


def plain_answer(row: Mapping[str, Any]) -> dict[str, Any]:
    """Write OlympiadBench's `final_answer`, a list of texts in dollars, as one text without them."""
    answers = row.get("final_answer")
    if not isinstance(answers, list):
        return dict(row)
    return {**row, "final_answer": ", ".join(str(answer).strip("$ ") for answer in answers)}
