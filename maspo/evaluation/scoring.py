"""From samples on disk to verdicts and scores: no model is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maspo import files
from maspo.data import Problem
from maspo.evaluation.folder import EvaluationFolder
from maspo.evaluation.score_file import Scores
from maspo.evaluation.scores import Judged, benchmark_scores, macro
from maspo.rewards import RewardSet, Verdict
from maspo.sampling import Sample, SampleKey

_AT_ONCE = 1024  # completions between two signs of progress

SamplePlace = tuple[str, str, int]
"""A sample's benchmark, problem id and index."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A sample whose verdict is another than it was."""

    place: SamplePlace
    before: str
    after: str


def score(
    folder: EvaluationFolder,
    drawn: Mapping[str, Mapping[SampleKey, Sample]],
    rewards: RewardSet,
    versions: Mapping[str, str],
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[Scores, list[Change]]:
    """Verify every sample and write verdicts.jsonl and scores.json.

    Args:
        folder: where the settings and the problems are read, and the results go.
        drawn: its samples, all of them (`EvaluationFolder.all_samples`).
        rewards: judge them.
        versions: of the packages, to be written down with the scores.
        progress: hears how many more samples are judged.

    Returns the scores and what differs from the verdicts that were there before.
    """
    settings = folder.settings()
    rows, results = [], {}
    for name, each in folder.problems().items():
        judged = []
        for block in _blocks(each, settings["samples"]):
            samples = [drawn[name][one.id, i] for one in block for i in range(settings["samples"])]
            asked = [one for one in block for _ in range(settings["samples"])]
            verdicts = rewards.verdicts([sample.text for sample in samples], asked)
            rows += [_verdict_row(name, *both) for both in zip(samples, verdicts, strict=True)]
            judged += _judged(block, samples, verdicts, settings["samples"])
            progress(len(samples))
        results[name] = benchmark_scores(judged)
    changes = _changes(files.read_lines(folder.path / "verdicts.jsonl"), rows)
    scores = Scores(
        model=settings["model"],
        versions=dict(versions),
        settings={key: value for key, value in settings.items() if key != "provenance"},
        benchmarks=results,
        macro=macro(results),
    )
    files.write_lines(folder.path / "verdicts.jsonl", rows)
    scores.write(folder.path / "scores.json")
    return scores, changes


def _blocks(problems: Sequence[Problem], samples: int) -> list[Sequence[Problem]]:
    size = max(1, _AT_ONCE // samples)
    return [problems[start : start + size] for start in range(0, len(problems), size)]


def _verdict_row(benchmark: str, sample: Sample, verdict: Verdict) -> dict[str, Any]:
    return {
        "benchmark": benchmark,
        "problem_id": sample.problem_id,
        "index": sample.index,
        "outcome": str(verdict.outcome),
        "extracted": verdict.answer,
        "score": verdict.score,
    }


def _judged(
    problems: Sequence[Problem], samples: Sequence[Sample], verdicts: Sequence[Verdict], count: int
) -> list[Judged]:
    parts = [slice(start, start + count) for start in range(0, len(samples), count)]
    return [
        Judged(
            problem_id=problem.id,
            outcomes=tuple(str(verdict.outcome) for verdict in verdicts[part]),
            extracted=tuple(verdict.answer for verdict in verdicts[part]),
            tokens=tuple(sample.tokens for sample in samples[part]),
            finish=tuple(sample.finish for sample in samples[part]),
            scores=tuple(verdict.score for verdict in verdicts[part]),
        )
        for problem, part in zip(problems, parts, strict=True)
    ]


def _changes(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> list[Change]:
    known = {_place(row): row["outcome"] for row in before}
    return [
        Change(place=_place(row), before=known[_place(row)], after=row["outcome"])
        for row in after
        if known.get(_place(row), row["outcome"]) != row["outcome"]
    ]


def _place(row: Mapping[str, Any]) -> SamplePlace:
    return row["benchmark"], row["problem_id"], row["index"]
