"""Several evaluations side by side: one table, what may not be compared, and paired differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from maspo.evaluation import Estimate
from maspo.evaluation.benchmarks import BENCHMARKS
from maspo.evaluation.scores import macro, score_differences
from maspo.lab.scores.chances import chances, sources
from maspo.lab.scores.load import LabelledScores
from maspo.lab.scores.published import Published

TITLES = {
    "aime24": "AIME24",
    "aime25": "AIME25",
    "amc23": "AMC23",
    "math500": "MATH500",
    "minerva": "Minerva",
    "olympiadbench": "OlympiadBench",
    "gsm8k": "GSM8K",
    "aime26": "AIME26",
    "hmmt25": "HMMT25",
    "hmmt26": "HMMT26",
    "imo-answerbench": "IMO-AnswerBench",
}
PAPER = tuple(TITLES)[:6]  # the benchmarks of the paper's average
# What changes the samples or the verdicts: a difference is said under the table.
_SETTINGS = ("samples", "temperature", "top_p", "max_tokens", "template", "engine", "dtype")
_VERSIONS = ("maspo", "math-verify")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of the table, a share or a difference of shares; `best` of those it may meet."""

    value: float
    low: float | None = None
    high: float | None = None
    best: bool = False


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A line of a table: for each column avg@k and pass@k, or None where they are not known."""

    label: str
    k: int
    cells: tuple[tuple[Figure, Figure] | None, ...]


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What lies behind the scores of one run on one benchmark."""

    label: str
    benchmark: str
    problems: int
    maj: Figure
    mean_tokens: float
    truncated: float
    outcomes: Mapping[str, int]
    score: float | None
    """Mean weighted sum of the rewards; None where they give verdicts alone."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that a report of evaluations tells."""

    benchmarks: tuple[str, ...]
    """Names of the benchmarks, in the order of the table."""
    columns: tuple[str, ...]
    """Titles of the benchmarks, then "Average"."""
    rows: tuple[TableRow, ...]
    published: Published | None
    published_rows: tuple[TableRow, ...]
    notes: tuple[str, ...]
    base: str
    differences: tuple[TableRow, ...]
    """Paired differences to the run called `base`."""
    chances: tuple[str, ...]
    """How likely each run is better than `base`, and what the scores vary with, in sentences."""
    details: tuple[Detail, ...]
    runs: tuple[LabelledScores, ...]

    @property
    def ks(self) -> list[int]:
        """The different k of the measured rows."""
        return sorted({row.k for row in self.rows})


def compare_runs(runs: Sequence[LabelledScores], reference: Published | None = None) -> Comparison:
    """Put evaluations side by side; the first one is what the others are paired with."""
    names = _ordered({name for run in runs for name in run.benchmarks})
    uneven = {name for name in names if not _same_problems(runs, name)}
    notes = [*_missing(runs, names), *_uneven(runs, uneven), *_settings(runs)]
    published_rows = () if reference is None else _published_rows(reference, names)
    if reference is not None and not published_rows:
        known = ", ".join(sorted({name for row in reference.rows.values() for name in row}))
        notes.append(
            f"The published rows of {reference.model} have none of these columns; theirs are {known}."
        )
    return Comparison(
        benchmarks=tuple(names),
        columns=(*(title(name) for name in names), "Average"),
        rows=_with_best([_row(run, names) for run in runs], [*(n in uneven for n in names)]),
        published=reference,
        published_rows=published_rows,
        notes=tuple(notes),
        base=runs[0].label,
        differences=tuple(filter(None, (_difference(runs[0], run, names) for run in runs[1:]))),
        chances=(
            *(told for run in runs[1:] for told in _chances(runs[0], run, names)),
            *(told for run in runs for told in sources([run], list(run.benchmarks))),
            *_of_seeds(runs, names),
        ),
        details=tuple(
            _detail(run, name) for name in names for run in runs if name in run.benchmarks
        ),
        runs=tuple(runs),
    )


def title(name: str) -> str:
    """How a benchmark is written in a table."""
    return TITLES.get(name, name)


def _ordered(names: set[str]) -> list[str]:
    return [*(n for n in BENCHMARKS if n in names), *sorted(names - BENCHMARKS.keys())]


def _figure(estimate: Estimate) -> Figure:
    return Figure(value=estimate.value, low=estimate.low, high=estimate.high)


def _pair(metrics: Mapping[str, Estimate], k: int) -> tuple[Figure, Figure]:
    return _figure(metrics[f"avg@{k}"]), _figure(metrics[f"pass@{k}"])


def _row(run: LabelledScores, names: Sequence[str]) -> TableRow:
    k, known = run.samples, run.benchmarks
    cells = [_pair(known[name].metrics, k) if name in known else None for name in names]
    whole = None not in cells
    average = _pair(macro({n: known[n] for n in names}).metrics, k) if whole else None
    return TableRow(label=run.label, k=k, cells=(*cells, average))


def _with_best(rows: list[TableRow], uneven: Sequence[bool]) -> tuple[TableRow, ...]:
    """Mark the best of each column among the rows of one k, as far as the problems are the same."""
    forbidden = [*uneven, any(uneven)]
    marked = []
    for row in rows:
        rivals = [other for other in rows if other.k == row.k]
        cells = []
        for column, cell in enumerate(row.cells):
            met = [c for r in rivals if (c := r.cells[column]) is not None]
            if cell is None or len(met) < 2 or forbidden[column]:
                cells.append(cell)
                continue
            tops = [max(_shown(pair[side]) for pair in met) for side in (0, 1)]
            cells.append(
                tuple(
                    replace(figure, best=_shown(figure) == top)
                    for figure, top in zip(cell, tops, strict=True)
                )
            )
        marked.append(replace(row, cells=tuple(cells)))
    return tuple(marked)


def _shown(figure: Figure) -> float:
    return round(100 * figure.value, 1)  # what a reader sees as equal is equally good


def _published_rows(reference: Published, names: Sequence[str]) -> tuple[TableRow, ...]:
    columns = [*names, "average" if set(names) == set(PAPER) else ""]
    rows = []
    for method, known in reference.rows.items():
        cells = [
            (Figure(value=known[c][0] / 100), Figure(value=known[c][1] / 100))
            if c in known
            else None
            for c in columns
        ]
        if any(cells):
            rows.append(TableRow(label=method, k=reference.k, cells=tuple(cells)))
    return tuple(rows)


def _difference(base: LabelledScores, run: LabelledScores, names: Sequence[str]) -> TableRow | None:
    """Pair a run with the first one, benchmark by benchmark, where both asked the same."""
    if base.samples != run.samples:
        return None
    k = base.samples
    shared = [name for name in names if _same_problems([base, run], name, both=True)]
    if not shared:
        return None
    found = score_differences(
        {name: base.benchmarks[name] for name in shared},
        {name: run.benchmarks[name] for name in shared},
    )
    cells = [_pair(found.benchmarks[n], k) if n in shared else None for n in names]
    average = _pair(found.macro, k) if None not in cells else None
    return TableRow(label=run.label, k=k, cells=(*cells, average))


def _chances(base: LabelledScores, run: LabelledScores, names: Sequence[str]) -> Iterable[str]:
    if base.samples != run.samples:
        return ()
    return chances(base, run, [n for n in names if _same_problems([base, run], n, both=True)])


def _of_seeds(runs: Sequence[LabelledScores], names: Sequence[str]) -> Iterable[str]:
    alike: dict[tuple[str, int], list[LabelledScores]] = {}
    for run in runs:
        if run.trained is not None:
            alike.setdefault((run.trained, run.samples), []).append(run)
    for group in alike.values():
        if len(group) > 1:
            same = [
                name
                for name in names
                if all(name in run.benchmarks for run in group) and _same_problems(group, name)
            ]
            yield from sources(group, same)


def _detail(run: LabelledScores, name: str) -> Detail:
    scores = run.benchmarks[name]
    return Detail(
        label=run.label,
        benchmark=title(name),
        problems=scores.problems,
        maj=_figure(scores.metrics[f"maj@{run.samples}"]),
        mean_tokens=scores.mean_tokens,
        truncated=scores.truncated,
        outcomes=scores.outcomes,
        score=scores.score,
    )


# --- what must not be compared in silence ------------------------------------------------------


def _same_problems(runs: Sequence[LabelledScores], name: str, *, both: bool = False) -> bool:
    having = [frozenset(r.benchmarks[name].correct) for r in runs if name in r.benchmarks]
    return len(set(having)) == 1 and not (both and len(having) < len(runs))


def _missing(runs: Sequence[LabelledScores], names: Sequence[str]) -> Iterable[str]:
    for run in runs:
        if absent := [title(name) for name in names if name not in run.benchmarks]:
            yield f"{run.label} was not measured on {', '.join(absent)}: it has no average."


def _uneven(runs: Sequence[LabelledScores], uneven: Iterable[str]) -> Iterable[str]:
    for name in sorted(uneven):
        sizes = [
            f"{run.label}: {run.benchmarks[name].problems}"
            for run in runs
            if name in run.benchmarks
        ]
        yield (
            f"The runs answered different problems of {title(name)} ({'; '.join(sizes)}): "
            "neither it nor the average is compared."
        )


def _settings(runs: Sequence[LabelledScores]) -> Iterable[str]:
    """Say which settings and versions differ, and for whom."""

    def differing(key: str, read: Callable[[LabelledScores], Any]) -> Iterable[str]:
        values = {run.label: repr(read(run)) if read(run) is not None else "none" for run in runs}
        if len(Counter(values.values())) > 1:
            told = "; ".join(f"{label}: {value}" for label, value in values.items())
            yield f"The runs differ in {key}: {told}."

    for key in _SETTINGS:
        yield from differing(key, lambda run, key=key: run.scores.settings.get(key))
    for key in _VERSIONS:
        yield from differing(
            f"the version of {key}", lambda run, key=key: run.scores.versions.get(key)
        )
    if len({run.samples for run in runs}) > 1:
        yield (
            "avg@k estimates the same for every k; pass@k grows with k: only rows with the same k "
            "are compared."
        )
