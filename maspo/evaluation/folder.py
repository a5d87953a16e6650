"""The folder of an evaluation: what was asked, every sample, the verdicts and the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maspo import files
from maspo.data import Problem
from maspo.errors import InputError
from maspo.evaluation.samples import read_samples
from maspo.evaluation.score_file import Scores
from maspo.sampling import Sample, SampleKey

_BEFORE_SETTINGS = {"problems.jsonl", "problems.jsonl.tmp", "eval.json.tmp", files.LOCK}


RUN_PART = "evaluations"
"""Folder within that of a training run in which its evaluations lie."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A sample with its problem and its verdict."""

    problem: Problem
    sample: Sample
    outcome: str
    extracted: str | None
    """The answer that was found in the sample's text, if there is one."""


class EvaluationFolder:
    """A folder that holds one evaluation and nothing else.

    eval.json (the settings), problems.jsonl (so that scoring needs no data set), samples.jsonl
    (append-only, one line a sample), verdicts.jsonl (one line a sample) and scores.json.
    """

    def __init__(self, path: Path) -> None:
        """Point at `path`, which need not exist."""
        self.path = path

    @classmethod
    def existing(cls, path: Path) -> EvaluationFolder:
        """Open an evaluation by its folder or its samples file; InputError where there is none."""
        folder = path.parent if path.name == "samples.jsonl" else path
        if not (folder / "eval.json").is_file():
            raise InputError(f"{folder} holds no evaluation: it has no eval.json")
        return cls(folder)

    @classmethod
    def of_run(cls, run: Path) -> dict[str, EvaluationFolder]:
        """Return the evaluations of a training run by name, in the order of training; none is empty."""
        found = [place for place in (run / RUN_PART).glob("*") if (place / "eval.json").is_file()]
        order = {place: files.read_json(place / "eval.json").get("rollouts", 0) for place in found}
        return {place.name: cls(place) for place in sorted(found, key=order.__getitem__)}

    def begin(self, settings: Mapping[str, Any], problems: Mapping[str, Sequence[Problem]]) -> bool:
        """Write down what is evaluated; return true where that was done before, and is the same.

        Raises InputError where the folder holds something else, or an evaluation with other
        settings (`provenance` aside) or problems.
        """
        rows = [_problem_row(name, one) for name, each in problems.items() for one in each]
        if (self.path / "eval.json").exists():
            self._check_same(settings, rows)
            return True
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is not a folder")
        self.path.mkdir(parents=True, exist_ok=True)
        if {entry.name for entry in self.path.iterdir()} - _BEFORE_SETTINGS:
            raise InputError(f"{self.path} holds something else; choose another --out")
        files.write_lines(self.path / "problems.jsonl", rows)
        files.write_json(
            self.path / "eval.json", settings
        )  # last: with it the folder is an evaluation
        return False

    @property
    def samples_file(self) -> Path:
        """The file that holds every sample."""
        return self.path / "samples.jsonl"

    def settings(self) -> dict[str, Any]:
        """Read eval.json."""
        return files.read_json(self.path / "eval.json")

    def answers(self) -> list[Answer]:
        """Return every sample that has a verdict, in the order of the verdicts."""
        problems = {name: {one.id: one for one in each} for name, each in self.problems().items()}
        drawn = self.samples()
        return [
            Answer(
                problem=problems[row["benchmark"]][row["problem_id"]],
                sample=drawn[row["benchmark"]][row["problem_id"], row["index"]],
                outcome=row["outcome"],
                extracted=row["extracted"],
            )
            for row in files.read_lines(self.path / "verdicts.jsonl")
        ]

    @property
    def is_scored(self) -> bool:
        """Whether there are scores of its samples."""
        return (self.path / "scores.json").is_file()

    def scores(self) -> Scores:
        """Read scores.json; InputError where the evaluation was not scored yet."""
        if not self.is_scored:
            raise InputError(f"{self.path} is not scored yet; run: maspo score {self.path}")
        return Scores.read(self.path / "scores.json")

    def problems(self) -> dict[str, list[Problem]]:
        """Read the problems of each benchmark."""
        found: dict[str, list[Problem]] = {}
        for row in files.read_lines(self.path / "problems.jsonl"):
            prompt = tuple(row.pop("prompt"))
            problem = Problem(id=row.pop("problem_id"), prompt=prompt, **_without(row, "benchmark"))
            found.setdefault(row["benchmark"], []).append(problem)
        return found

    def samples(self) -> dict[str, dict[SampleKey, Sample]]:
        """Read the samples of each benchmark by their places; InputError as in `read_samples`."""
        known = {name: {one.id for one in each} for name, each in self.problems().items()}
        return read_samples(self.samples_file, known, self.settings()["samples"])

    def all_samples(self) -> dict[str, dict[SampleKey, Sample]]:
        """Read the samples as `samples` does; InputError also where some are missing."""
        drawn = self.samples()
        there = sum(map(len, drawn.values()))
        wanted = self.settings()["samples"] * sum(map(len, self.problems().values()))
        if there < wanted:
            raise InputError(
                f"{self.samples_file} holds {there} of {wanted} samples; "
                "run the same `maspo eval` again to draw the rest"
            )
        return drawn

    def _check_same(self, settings: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        before = self.settings()
        for key in settings:
            if key != "provenance" and settings[key] != before.get(key):
                raise InputError(
                    f"{self.path} holds an evaluation with {key} {before.get(key)!r}, not "
                    f"{settings[key]!r}; choose another --out, or the same settings to continue it"
                )
        if list(rows) != files.read_lines(self.path / "problems.jsonl"):
            raise InputError(f"the problems are not those of the evaluation in {self.path}")


def _problem_row(benchmark: str, problem: Problem) -> dict[str, Any]:
    return {
        "benchmark": benchmark,
        "problem_id": problem.id,
        "prompt": list(problem.prompt),
        "answer": problem.answer,
        "columns": dict(problem.columns),
    }


def _without(row: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != key}
