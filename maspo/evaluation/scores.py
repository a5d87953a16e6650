"""The scores of a model on benchmarks, from the verdicts on its samples."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
from maspo.evaluation.score_file import BenchmarkScores, MacroScores
from maspo.rewards import Outcome
from maspo.rewards.extract import same_value

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


@dataclass(frozen=True, kw_only=True)
class Differences:
    """Paired differences of two evaluations, with 95% intervals over problems."""

    benchmarks: dict[str, dict[str, Estimate]]
    """By benchmark, that of `avg@n`, `pass@n` and `maj@n`."""
    macro: dict[str, Estimate]
    """Those of the unweighted means over benchmarks."""


def benchmark_scores(judged: Sequence[Judged]) -> BenchmarkScores:
    """Score one benchmark from all its samples, n of each problem.

    Raises InputError where there is no problem, an id comes twice, or the problems differ in their
    number of samples.
    """
    n = _samples(judged)
    correct = {one.problem_id: one.correct for one in judged}
    majority = {one.problem_id: one.majority(n) for one in judged}
    counts = Counter(outcome for one in judged for outcome in one.outcomes)
    total = n * len(judged)
    return BenchmarkScores(
        problems=len(judged),
        samples=n,
        **_estimated(n, [_table(n, correct, majority)]),
        mean_tokens=sum(sum(one.tokens) for one in judged) / total,
        truncated=sum(one.finish.count("length") for one in judged) / total,
        outcomes={str(outcome): counts[outcome] for outcome in Outcome},
        correct=correct,
        majority=majority,
        score=_mean_score(judged),
    )


def _mean_score(judged: Sequence[Judged]) -> float | None:
    found = [score for one in judged for score in one.scores if score is not None]
    return sum(found) / len(found) if found else None


def macro(scores: Mapping[str, BenchmarkScores]) -> MacroScores:
    """Average over benchmarks, each with the same weight.

    The intervals resample the problems of each benchmark by itself. Raises InputError where there
    is no benchmark, or they differ in their number of samples.
    """
    n = _same_samples(scores)
    tables = [_table(n, each.correct, each.majority) for each in scores.values()]
    return MacroScores(benchmarks=list(scores), samples=n, **_estimated(n, tables))


def score_differences(
    before: Mapping[str, BenchmarkScores], after: Mapping[str, BenchmarkScores]
) -> Differences:
    """Estimate `after - before` on the same problems, problem by problem.

    Args:
        before, after: scores by benchmark; the same benchmarks.

    Raises InputError where benchmarks, problems or numbers of samples differ.
    """
    if set(before) != set(after):
        raise InputError(f"cannot pair benchmarks {_listed(before)} with {_listed(after)}")
    tables = {name: _differences(name, scores, after[name]) for name, scores in before.items()}
    n = _same_samples(before)
    return Differences(
        benchmarks={
            name: _named(n, mean_estimates([table], bounds=_GAIN)) for name, table in tables.items()
        },
        macro=_named(n, mean_estimates(list(tables.values()), bounds=_GAIN)),
    )


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


def _same_samples(scores: Mapping[str, BenchmarkScores]) -> int:
    if not scores:
        raise InputError("there is no benchmark to average over")
    numbers = {each.samples for each in scores.values()}
    if len(numbers) > 1:
        raise InputError(
            f"the benchmarks have {_listed(map(str, sorted(numbers)))} samples a problem: "
            "averages need the same number"
        )
    return numbers.pop()


def _table(n: int, correct: Mapping[str, int], majority: Mapping[str, float]) -> list[list[float]]:
    """One row per problem: avg@n, maj@n, then pass@k for k from 1 to n."""

    @cache
    def curve(count: int) -> list[float]:
        return [pass_at_k(n, count, k) for k in range(1, n + 1)]

    return [
        [avg_at_k(n, count), majority[problem_id], *curve(count)]
        for problem_id, count in correct.items()
    ]


def _estimated(n: int, tables: Sequence[list[list[float]]]) -> dict[str, Any]:
    average, majority, *curve = mean_estimates(tables)
    return {
        "metrics": {f"avg@{n}": average, f"pass@{n}": curve[-1], f"maj@{n}": majority},
        "pass_curve": dict(enumerate(curve, 1)),
    }


def _differences(name: str, before: BenchmarkScores, after: BenchmarkScores) -> list[list[float]]:
    """One row per problem: the differences of avg@n, pass@n and maj@n."""
    if before.samples != after.samples:
        raise InputError(
            f"{name} has {before.samples} samples a problem in one and {after.samples} "
            "in the other: cannot be paired"
        )
    if set(before.correct) != set(after.correct):
        shared = len(set(before.correct) & set(after.correct))
        raise InputError(
            f"{name}: only {shared} problems are in both ({before.problems} and "
            f"{after.problems}): cannot be paired"
        )
    n = before.samples

    def row(scores: BenchmarkScores, problem_id: str) -> list[float]:
        correct = scores.correct[problem_id]
        return [avg_at_k(n, correct), float(correct > 0), scores.majority[problem_id]]

    return [
        [new - old for old, new in zip(row(before, each), row(after, each), strict=True)]
        for each in before.correct
    ]


def _named(n: int, found: Sequence[Estimate]) -> dict[str, Estimate]:
    return dict(zip((f"avg@{n}", f"pass@{n}", f"maj@{n}"), found, strict=True))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
