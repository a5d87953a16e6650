"""From the runs of a race to its figures: scores, differences, curves, and what may not be believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

from maspo.evaluation.estimators import Estimate
from maspo.lab import statistics, words
from maspo.lab.charts import running_mean
from maspo.lab.race import Plan, check_fairness, strangers
from maspo.lab.race_folder import RaceFolder, Result
from maspo.lab.statistics import Comparison, Verdict
from maspo.lab.tuning import Tried, best_rates, tuned_at_the_edge, tuning_scores
from maspo.recipes import load_recipe

WAY = 0.8
"""The threshold of a race: this share of the way from the first reward to the baseline's last."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run with what can be read off its metrics."""

    result: Result
    completions: tuple[int, ...]
    """Completions sampled when each rollout was over, `[rollouts]`."""
    curves: dict[str, tuple[float | None, ...]]
    """By key of the metrics, the mean over each rollout's updates, `[rollouts]`."""

    @classmethod
    def of(cls, result: Result, completions: int) -> Run:
        """Gather the metrics of a run by rollout; a rollout is `completions` completions."""
        updates = result.cell.updates
        rollouts: dict[int, list[dict[str, Any]]] = {}
        for row in result.rows:
            rollouts.setdefault((row["step"] - 1) // updates, []).append(row)
        keys = {key for row in result.rows for key in row}
        return cls(
            result=result,
            completions=tuple((index + 1) * completions for index in rollouts),
            curves={key: tuple(_mean(rows, key) for rows in rollouts.values()) for key in keys},
        )

    @cached_property
    def rewards(self) -> list[tuple[int, float]]:
        """Pairs of completions and mean reward."""
        pairs = zip(self.completions, self.curves.get("reward", ()), strict=False)
        return [(at, reward) for at, reward in pairs if reward is not None]

    @property
    def area(self) -> float | None:
        """See `statistics.area`; None without rewards."""
        return statistics.area(*zip(*self.rewards, strict=True)) if self.rewards else None

    def reached(self, threshold: float) -> float | None:
        """See `statistics.reached`, of the running mean."""
        if not self.rewards:
            return None
        at, rewards = zip(*self.rewards, strict=True)
        smooth = [value for value in running_mean(rewards) if value is not None]
        return statistics.reached(at, smooth, threshold)

    @property
    def collapse(self) -> str | None:
        """See `statistics.collapse`."""
        return statistics.collapse(self.result.rows)


def _mean(rows: Sequence[dict[str, Any]], key: str) -> float | None:
    known = [row[key] for row in rows if row.get(key) is not None]
    return fmean(known) if known else None


@dataclass(frozen=True, kw_only=True)
class Line:
    """One objective at one number of updates per rollout."""

    label: str
    learning_rate: float | None
    """None where tuning left no rate."""
    runs: tuple[Run, ...]
    """Those that finished."""
    failed: dict[int, str]
    """Reason by seed."""
    missing: tuple[int, ...]
    """Seeds that were not run."""
    score: Estimate | None
    iqm: Estimate | None
    area: Estimate | None
    reached: tuple[float | None, ...]
    """Completions to the threshold, by run."""
    comparison: Comparison | None
    """With the baseline; None for itself and without shared seeds."""
    verdict: Verdict | None

    @property
    def scores(self) -> dict[int, float]:
        """Score by seed."""
        return {r.result.cell.seed: r.result.score for r in self.runs if r.result.score is not None}

    @property
    def collapsed(self) -> dict[int, str]:
        """Reason by seed, of the finished runs."""
        found = {run.result.cell.seed: run.collapse for run in self.runs}
        return {seed: reason for seed, reason in found.items() if reason}

    def curve(self, key: str) -> tuple[list[int], list[float], list[float]] | None:
        """Give completions, mean over runs and standard error of a smoothed metric; None without it."""
        curves = [run.curves[key] for run in self.runs if key in run.curves]
        length = min(map(len, curves), default=0)
        smooth = [running_mean(curve[:length]) for curve in curves]
        at = [i for i in range(length) if all(curve[i] is not None for curve in smooth)]
        if not at:
            return None
        columns = [[float(curve[i]) for curve in smooth] for i in at]  # pyright: ignore[reportArgumentType]
        x = self.runs[0].completions
        errors = [stdev(c) / len(c) ** 0.5 if len(c) > 1 else 0.0 for c in columns]
        return [x[i] for i in at], [fmean(c) for c in columns], errors


@dataclass(frozen=True, kw_only=True)
class Group:
    """The race at one number of updates per rollout."""

    updates: int
    threshold: float | None
    """Reward of `Line.reached`; None where the baseline learned nothing."""
    start: float | None
    """Mean score before training."""
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        """Its number of updates in words."""
        return words.updates(self.updates)

    @property
    def verdicts(self) -> list[Verdict]:
        """What is said of each objective but the baseline."""
        return [line.verdict for line in self.lines if line.verdict]


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """A race, read."""

    plan: Plan
    metric: str
    """The score, such as avg@8."""
    groups: tuple[Group, ...]
    fairness: dict[str, tuple[str, ...]]
    """By run, the keys in which its recipe differs from the first of its seed and updates."""
    tried: Tried
    """What tuning found; empty without it."""
    notes: tuple[str, ...]
    """What a reader must know before believing a figure."""

    @property
    def baseline(self) -> str:
        """Label of the baseline."""
        return self.plan.labels[0]

    def claims(self) -> list[Verdict]:
        """Give the verdicts that claim something, or hint at it, group by group."""
        return [
            replace(one, text=f"{group.title}: {one.text}") if len(self.groups) > 1 else one
            for group in self.groups
            for one in group.verdicts
            if one.finding != "none"
        ]


def analyse(folder: RaceFolder) -> Analysis:
    """Read a race as far as it has come.

    Raises InputError where the recipes that were run differ in more than they may.
    """
    plan = folder.plan()
    tried = tuning_scores(plan, folder)
    rates = best_rates(tried) if plan.rates else None
    results = [folder.result(cell) for cell in plan.cells(rates)]
    recipes = {
        r.cell.name: load_recipe(str(folder.run_folder(r.cell) / "recipe.yaml"))
        for r in results
        if (folder.run_folder(r.cell) / "recipe.yaml").exists()
    }
    fairness = check_fairness(recipes, tuned=bool(plan.rates))
    groups = tuple(_group(plan, updates, results) for updates in plan.updates)
    notes = [*_absent(groups), *_started_alike(results), *_origins(folder, results)]
    if rates is not None:
        notes += tuned_at_the_edge(plan, rates)
    notes += [f"{line}." for line in strangers(plan)]
    return Analysis(
        plan=plan,
        metric=next((r.metric for r in results if r.summary), "score"),
        groups=groups,
        fairness=fairness,
        tried=tried,
        notes=tuple(notes),
    )


def _group(plan: Plan, updates: int, results: Sequence[Result]) -> Group:
    mine = [result for result in results if result.cell.updates == updates]
    runs: dict[str, list[Run]] = {label: [] for label in plan.labels}
    for result in mine:
        if result.summary is not None:
            runs[result.cell.entrant].append(Run.of(result, plan.recipe.completions))
    threshold = _threshold(runs[plan.labels[0]])
    bare = [_line(plan, label, runs[label], mine, threshold) for label in plan.labels]
    before = [r.summary["before"][r.metric] for r in mine if r.summary]
    return Group(
        updates=updates,
        threshold=threshold,
        start=fmean(before) if before else None,
        lines=tuple(_judged(bare)),
    )


def _threshold(runs: Sequence[Run]) -> float | None:
    rewards = [[reward for _, reward in run.rewards] for run in runs if run.rewards]
    if not rewards:
        return None
    start = fmean(values[0] for values in rewards)
    end = fmean(fmean(values[-max(1, len(values) // 10) :]) for values in rewards)
    return start + WAY * (end - start) if end > start else None


def _line(
    plan: Plan, label: str, runs: list[Run], results: list[Result], threshold: float | None
) -> Line:
    mine = {r.cell.seed: r for r in results if r.cell.entrant == label}
    scores = [run.result.score for run in runs]
    areas = [run.area for run in runs if run.area is not None]

    def estimated(statistic: Callable[..., Any], values: list[Any]) -> Estimate | None:
        return statistics.estimate(statistic, values) if values else None

    return Line(
        label=label,
        learning_rate=next((r.cell.learning_rate for r in mine.values()), None),
        runs=tuple(runs),
        failed={seed: r.failure for seed, r in mine.items() if r.failure},
        missing=tuple(
            seed
            for seed in plan.seeds
            if seed not in mine or not (mine[seed].summary or mine[seed].failure)
        ),
        score=estimated(statistics.mean, scores),
        iqm=estimated(statistics.interquartile_mean, scores),
        area=estimated(statistics.mean, areas),
        reached=() if threshold is None else tuple(run.reached(threshold) for run in runs),
        comparison=None,
        verdict=None,
    )


def _judged(lines: list[Line]) -> Iterable[Line]:
    """Compare every line but the first with the first."""
    base, *others = lines
    found = [statistics.compared(line.scores, base.scores) for line in others]
    adjusted = statistics.holm([one.p if one else None for one in found])
    yield base
    for line, one, p in zip(others, found, adjusted, strict=True):
        failed = len(line.failed) + len(base.failed)
        told = statistics.verdict(line.label, base.label, one, p, failed)
        yield replace(line, comparison=one, verdict=told)


# --- what must be said ---------------------------------------------------------------------------


def _absent(groups: Sequence[Group]) -> Iterable[str]:
    for group in groups:
        for line in group.lines:
            where = f"{line.label}, {group.title}"
            for seed, reason in line.failed.items():
                yield f"{where}, seed {seed}: failed ({reason}); it has no score."
            for seed, reason in line.collapsed.items():
                yield f"{where}, seed {seed}: collapsed ({reason}); its score counts."
        for seed in sorted({seed for line in group.lines for seed in line.missing}):
            lacking = [line.label for line in group.lines if seed in line.missing]
            who = "all objectives" if len(lacking) == len(group.lines) else ", ".join(lacking)
            yield f"{group.title}, seed {seed} was not run: {who}."


def _started_alike(results: Sequence[Result]) -> Iterable[str]:
    """Check on the numbers that runs of one seed began from the same model and the same prompts."""
    starts: dict[tuple[int, int], set[tuple[Any, ...]]] = {}
    for result in results:
        if result.summary is None or not result.rows:
            continue
        first = result.rows[0]
        begun = (
            result.summary["before"][result.metric],
            first.get("reward"),
            first.get("completions/mean_length"),
        )
        starts.setdefault((result.cell.seed, result.cell.updates), set()).add(begun)
    odd = [
        f"{seed} ({updates} updates)" for (seed, updates), found in starts.items() if len(found) > 1
    ]
    if odd:
        yield (
            f"The runs of seed {', '.join(odd)} did not begin alike: score before training, reward or "
            "length of the first rollout differ."
        )


def _origins(folder: RaceFolder, results: Sequence[Result]) -> Iterable[str]:
    paths = [folder.run_folder(r.cell) / "provenance.json" for r in results if r.summary]
    origins = [json.loads(path.read_text("utf-8")) for path in paths]
    for name, read in (
        ("commits", lambda o: o["commit"]),
        ("machines", lambda o: o["hardware"]["platform"]),
    ):
        found = sorted({str(read(origin)) for origin in origins})
        if len(found) > 1:
            yield f"The runs come from several {name}: {', '.join(found)}."
