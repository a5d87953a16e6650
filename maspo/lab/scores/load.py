"""Evaluations read back from their folders, checked for what a report needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from maspo import files
from maspo.errors import InputError
from maspo.evaluation.folder import RUN_PART, EvaluationFolder

Share = Annotated[float, Field(ge=0, le=1)]


class _Estimate(BaseModel):
    value: Share
    low: Share | None
    high: Share | None


class _Benchmark(BaseModel):
    problems: Annotated[int, Field(ge=1)]
    samples: Annotated[int, Field(ge=1)]
    metrics: dict[str, _Estimate]
    pass_curve: dict[str, _Estimate]
    mean_tokens: float
    truncated: Share
    outcomes: dict[str, int]
    correct: dict[str, int]
    majority: dict[str, Share]

    @model_validator(mode="after")
    def _complete(self) -> _Benchmark:
        wanted = {f"{metric}@{self.samples}" for metric in ("avg", "pass", "maj")}
        if missing := sorted(wanted - self.metrics.keys()):
            raise ValueError(f"the metric {missing[0]} of {self.samples} samples is missing")
        if set(self.pass_curve) != {str(k) for k in range(1, self.samples + 1)}:
            raise ValueError(f"pass_curve must hold every k from 1 to {self.samples}")
        if set(self.correct) != set(self.majority) or len(self.correct) != self.problems:
            raise ValueError(f"correct and majority must hold all {self.problems} problems")
        return self


class _Scores(BaseModel):
    model: str
    versions: dict[str, str]
    settings: dict[str, Any]
    benchmarks: Annotated[dict[str, _Benchmark], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One evaluation, under the name a report gives it."""

    label: str
    model: str
    versions: dict[str, str]
    settings: dict[str, Any]
    benchmarks: dict[str, dict[str, Any]]
    """By name, what `maspo.evaluation.scores.benchmark_scores` gave."""

    @property
    def samples(self) -> int:
        """Samples a problem; the same for every benchmark."""
        return next(iter(self.benchmarks.values()))["samples"]


def load_runs(words: Sequence[str]) -> list[Run]:
    """Read evaluations given as `FOLDER` (named after the folder) or `NAME=FOLDER`.

    The folder of a training run stands for its evaluations before and after training; what lies
    between is given by its own folder. Raises InputError for a name given twice and for a folder
    without usable scores.
    """
    runs: dict[str, Run] = {}
    for name, folder in (one for word in words for one in _evaluations(*_split(word))):
        if name in runs:
            raise InputError(f"two runs are called {name!r}; name them: NAME=FOLDER")
        runs[name] = _load(name, folder)
    return list(runs.values())


def _evaluations(name: str, folder: Path) -> list[tuple[str, Path]]:
    found = [*EvaluationFolder.of_run(folder).values()]
    if not found:
        return [(name, folder)]
    ends = dict.fromkeys((found[0].path, found[-1].path))
    return [(f"{name} {place.name}", place) for place in ends]


def _split(word: str) -> tuple[str, Path]:
    """Part name and folder; both may hold an equals sign."""
    signs = [i for i, sign in enumerate(word) if sign == "="]
    if not signs or Path(word).is_dir():
        return _name(Path(word).resolve()), Path(word)
    at = next((i for i in signs if Path(word[i + 1 :]).is_dir()), signs[0])
    return word[:at], Path(word[at + 1 :])


def _name(folder: Path) -> str:
    """Name an evaluation after its folder, and after its run where it is of one."""
    of_run = folder.parent.name == RUN_PART
    return f"{folder.parent.parent.name} {folder.name}" if of_run else folder.name


def _load(label: str, folder: Path) -> Run:
    if not folder.is_dir():
        raise InputError(
            f"there is no folder {folder}; give folders that `maspo eval` or `maspo train` wrote"
        )
    file = folder / "scores.json"
    if not file.is_file():
        hint = f"run: maspo score {folder}" if (folder / "eval.json").exists() else "no evaluation"
        raise InputError(f"{folder} holds no scores.json: {hint}")
    try:
        scores = _Scores.model_validate(files.read_json(file))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{file}: {where}: {first['msg'].removeprefix('Value error, ')}") from None
    numbers = {each.samples for each in scores.benchmarks.values()}
    if len(numbers) > 1:
        raise InputError(f"{file}: its benchmarks differ in their number of samples")
    return Run(label=label, **scores.model_dump())
