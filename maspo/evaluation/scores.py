"""The scores of a model on benchmarks: plain data, from the verdicts on its samples."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from maspo.errors import InputError
from maspo.evaluation.estimators import (
    Estimate,
    avg_at_k,
    maj_at_k,
    mean_estimates,
    pass_at_k,
)
from maspo.rewards import Outcome
from maspo.rewards.extract import same_value

Scores = Mapping[str, Any]
_GAIN = (-1.0, 1.0)  # the bounds of a difference of scores


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The samples of one problem with their verdicts, in the order of their index."""

    problem_id: str
    outcomes: tuple[str, ...]
    extracted: tuple[str | None, ...]
    """The answer the verifier found in each sample, as text; None where there is none."""
    tokens: tuple[int, ...]
    finish: tuple[str, ...]
    scores: tuple[float | None, ...] = ()
    """The weighted sum of the rewards of each sample, None where none has one; empty without rewards."""

    @property
    def correct(self) -> int:
        """Number of correct samples."""
        return self.outcomes.count(Outcome.CORRECT)

    def majority(self, k: int) -> float:
        """Return maj@k: correct samples vote as one, and wrong ones with those of the same value."""
        answers = zip(self.outcomes, self.extracted, strict=True)
        wrong = Counter(
            same_value(text) for outcome, text in answers if outcome != Outcome.CORRECT and text
        )
        return maj_at_k(len(self.outcomes), self.correct, wrong.values(), k)


def benchmark_scores(judged: Sequence[Judged]) -> dict[str, Any]:
    """Score one benchmark from all its samples, n of each problem.

    Returns plain data for JSON: `problems`, `samples` (n), `metrics` (`avg@n`, `pass@n`, `maj@n`),
    `pass_curve` (pass@k for every k from 1 to n, keyed by k as text), `mean_tokens`, `truncated`
    (share of samples that met the length limit), `outcomes` (counts), `correct` (samples by
    problem), `majority` (maj@n by problem) and `score` (the mean weighted sum of the rewards, over the
    samples that have one; None without any). An estimate is `{"value", "low", "high"}` with a 95%
    interval over problems, null for a single problem. Raises InputError where there is no
    problem, an id comes twice, or the problems differ in their number of samples.
    """
    n = _samples(judged)
    correct = {one.problem_id: one.correct for one in judged}
    majority = {one.problem_id: one.majority(n) for one in judged}
    counts = Counter(outcome for one in judged for outcome in one.outcomes)
    total = n * len(judged)
    base = {"problems": len(judged), "samples": n, "correct": correct, "majority": majority}
    return {
        "problems": len(judged),
        "samples": n,
        **_estimated([base]),
        "mean_tokens": sum(sum(one.tokens) for one in judged) / total,
        "truncated": sum(one.finish.count("length") for one in judged) / total,
        "outcomes": {str(outcome): counts[outcome] for outcome in Outcome},
        "correct": correct,
        "majority": majority,
        "score": _mean_score(judged),
    }


def _mean_score(judged: Sequence[Judged]) -> float | None:
    found = [score for one in judged for score in one.scores if score is not None]
    return sum(found) / len(found) if found else None


def macro(scores: Mapping[str, Scores]) -> dict[str, Any]:
    """Average over benchmarks, each with the same weight.

    Args:
        scores: by benchmark, what `benchmark_scores` gave.

    Returns `benchmarks` (names), `samples`, `metrics` and `pass_curve` as in `benchmark_scores`;
    the intervals resample the problems of each benchmark by itself. Raises InputError where there
    is no benchmark, or they differ in their number of samples.
    """
    _same_samples(scores)
    return {
        "benchmarks": list(scores),
        "samples": next(iter(scores.values()))["samples"],
        **_estimated(list(scores.values())),
    }


def compare(before: Mapping[str, Scores], after: Mapping[str, Scores]) -> dict[str, Any]:
    """Estimate `after - before` on the same problems, problem by problem.

    Args:
        before, after: by benchmark, what `benchmark_scores` gave; the same benchmarks.

    Returns `benchmarks`, by name the difference of each metric, and `macro`, that of their
    unweighted means. Raises InputError where benchmarks, problems or numbers of samples differ.
    """
    if set(before) != set(after):
        raise InputError(f"cannot pair benchmarks {_listed(before)} with {_listed(after)}")
    tables = {name: _differences(name, scores, after[name]) for name, scores in before.items()}
    n = _same_samples(before)
    return {
        "benchmarks": {
            name: _named(n, mean_estimates([table], bounds=_GAIN)) for name, table in tables.items()
        },
        "macro": _named(n, mean_estimates(list(tables.values()), bounds=_GAIN)),
    }


def _samples(judged: Sequence[Judged]) -> int:
    if not judged:
        raise InputError("there is no problem to score")
    n = len(judged[0].outcomes)
    seen = set()
    for one in judged:
        if one.problem_id in seen:
            raise InputError(f"problem {one.problem_id!r} comes twice")
        if len(one.outcomes) != n:
            raise InputError(
                f"problem {one.problem_id!r} has {len(one.outcomes)} samples, but "
                f"{judged[0].problem_id!r} has {n}: every problem needs the same number"
            )
        seen.add(one.problem_id)
    return n


def _same_samples(scores: Mapping[str, Scores]) -> int:
    if not scores:
        raise InputError("there is no benchmark to average over")
    numbers = {each["samples"] for each in scores.values()}
    if len(numbers) > 1:
        raise InputError(
            f"the benchmarks have {_listed(map(str, sorted(numbers)))} samples a problem: "
            "averages need the same number"
        )
    return numbers.pop()


def _table(scores: Scores) -> list[list[float]]:
    """One row per problem: avg@n, maj@n, then pass@k for k from 1 to n."""
    n = scores["samples"]

    @cache
    def curve(correct: int) -> list[float]:
        return [pass_at_k(n, correct, k) for k in range(1, n + 1)]

    return [
        [avg_at_k(n, correct), scores["majority"][problem_id], *curve(correct)]
        for problem_id, correct in scores["correct"].items()
    ]


def _estimated(scores: Sequence[Scores]) -> dict[str, Any]:
    n = scores[0]["samples"]
    average, majority, *curve = map(asdict, mean_estimates([_table(each) for each in scores]))
    return {
        "metrics": {f"avg@{n}": average, f"pass@{n}": curve[-1], f"maj@{n}": majority},
        "pass_curve": {str(k): estimate for k, estimate in enumerate(curve, 1)},
    }


def _differences(name: str, before: Scores, after: Scores) -> list[list[float]]:
    """One row per problem: the differences of avg@n, pass@n and maj@n."""
    if before["samples"] != after["samples"]:
        raise InputError(
            f"{name} has {before['samples']} samples a problem in one and {after['samples']} "
            "in the other: cannot be paired"
        )
    if set(before["correct"]) != set(after["correct"]):
        shared = len(set(before["correct"]) & set(after["correct"]))
        raise InputError(
            f"{name}: only {shared} problems are in both ({before['problems']} and "
            f"{after['problems']}): cannot be paired"
        )
    n = before["samples"]

    def row(scores: Scores, problem_id: str) -> list[float]:
        correct = scores["correct"][problem_id]
        return [avg_at_k(n, correct), float(correct > 0), scores["majority"][problem_id]]

    return [
        [new - old for old, new in zip(row(before, each), row(after, each), strict=True)]
        for each in before["correct"]
    ]


def _named(n: int, found: Sequence[Estimate]) -> dict[str, dict[str, float | None]]:
    return dict(zip((f"avg@{n}", f"pass@{n}", f"maj@{n}"), map(asdict, found), strict=True))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
