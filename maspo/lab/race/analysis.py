"""From the runs of a race to its figures, and what must be known before believing them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from maspo import files
from maspo.lab.race import inference
from maspo.lab.race.fairness import check_fairness, couplings, matched, strangers
from maspo.lab.race.folder import RaceFolder, Result
from maspo.lab.race.plan import Condition, Plan
from maspo.lab.race.results import Analysis, Group, Line, RunCurves
from maspo.lab.race.tolerance import Sweep, compare_tolerances, rate_curve
from maspo.lab.race.tuning import best_rates, tuned_at_the_edge, tuning_scores
from maspo.recipes import load_recipe

WAY = 0.8
"""The threshold of a race: this share of the way from the first reward to the baseline's last."""


def analyse(folder: RaceFolder) -> Analysis:
    """Read a race as far as it has come.

    Raises InputError where the recipes that were run differ in more than they may.
    """
    plan = folder.plan()
    tried = tuning_scores(plan, folder)
    rates = best_rates(tried) if plan.rates else None
    results = [folder.result(trial) for trial in plan.trials(rates)]
    recipes = {
        r.trial.name: load_recipe(str(folder.run_folder(r.trial) / "recipe.yaml"))
        for r in results
        if (folder.run_folder(r.trial) / "recipe.yaml").exists()
    }
    fairness = check_fairness(recipes, tuned=bool(plan.rates or plan.sweep))
    sweeps = tuple(_sweep(plan, condition, results) for condition in plan.conditions if plan.sweep)
    at_best = results if not sweeps else [r for r in results if _is_best(r, sweeps)]
    groups = tuple(_group(plan, condition, at_best) for condition in plan.conditions)
    notes = [
        *_absent(groups),
        *_failures(sweeps),
        *_started_alike(results),
        *_origins(folder, results),
    ]
    if rates is not None:
        notes += tuned_at_the_edge(plan, rates)
    notes += [f"{line}." for line in (*strangers(plan), *couplings(plan), *matched(plan))]
    return Analysis(
        plan=plan,
        metric=next((r.metric for r in results if r.summary), "score"),
        groups=groups,
        fairness=fairness,
        sweeps=sweeps,
        tried=tried,
        notes=tuple(notes),
    )


def _sweep(plan: Plan, condition: Condition, results: Sequence[Result]) -> Sweep:
    """Read the scores of all objectives at all rates."""
    curves = []
    for label in plan.labels:
        mine = [r for r in results if (r.trial.entrant, r.trial.condition) == (label, condition)]
        scores: dict[int, dict[float, float]] = {}
        for result in mine:
            if result.score is not None:
                scores.setdefault(result.trial.seed, {})[result.trial.learning_rate] = result.score
        failed = sum(result.failure is not None for result in mine)
        curves.append(rate_curve(label, plan.sweep, scores, failed))
    judged = compare_tolerances(curves, plan.sweep)
    return Sweep(condition=condition, rates=plan.sweep, curves=tuple(judged))


def _is_best(result: Result, sweeps: Sequence[Sweep]) -> bool:
    """Whether a run of a sweep is one at its objective's best rate."""
    trial = result.trial
    sweep = next(one for one in sweeps if one.condition == trial.condition)
    best = next(curve.best_rate for curve in sweep.curves if curve.label == trial.entrant)
    return trial.learning_rate == (sweep.rates[0] if best is None else best)


def _failures(sweeps: Sequence[Sweep]) -> Iterable[str]:
    for sweep in sweeps:
        for curve in sweep.curves:
            if curve.failed:
                yield (
                    f"{curve.label}, {sweep.condition}: {curve.failed} runs of the sweep failed; seeds "
                    "that lack a rate are left out of its curve."
                )


def _group(plan: Plan, condition: Condition, results: Sequence[Result]) -> Group:
    mine = [result for result in results if result.trial.condition == condition]
    runs: dict[str, list[RunCurves]] = {label: [] for label in plan.labels}
    for result in mine:
        if result.summary is not None:
            runs[result.trial.entrant].append(RunCurves.of(result, plan.recipe.completions))
    threshold = _threshold(runs[plan.labels[0]])
    bare = [_line(plan, label, runs[label], mine, threshold) for label in plan.labels]
    before = [r.summary["before"][r.metric] for r in mine if r.summary]
    return Group(
        condition=condition,
        threshold=threshold,
        start=fmean(before) if before else None,
        lines=tuple(_judged(bare)),
    )


def _threshold(runs: Sequence[RunCurves]) -> float | None:
    rewards = [[reward for _, reward in run.rewards] for run in runs if run.rewards]
    if not rewards:
        return None
    start = fmean(values[0] for values in rewards)
    end = fmean(fmean(values[-max(1, len(values) // 10) :]) for values in rewards)
    return start + WAY * (end - start) if end > start else None


def _line(
    plan: Plan, label: str, runs: list[RunCurves], results: list[Result], threshold: float | None
) -> Line:
    mine = {r.trial.seed: r for r in results if r.trial.entrant == label}
    scores = [run.result.score for run in runs if run.result.score is not None]
    areas = [run.area for run in runs if run.area is not None]

    return Line(
        label=label,
        learning_rate=next((r.trial.learning_rate for r in mine.values()), None),
        runs=tuple(runs),
        failed={seed: r.failure for seed, r in mine.items() if r.failure},
        missing=tuple(
            seed
            for seed in plan.seeds
            if seed not in mine or not (mine[seed].summary or mine[seed].failure)
        ),
        score=inference.mean_estimate(scores) if scores else None,
        iqm=inference.resampled_estimate(inference.interquartile_mean, scores) if scores else None,
        area=inference.mean_estimate(areas) if areas else None,
        reached=() if threshold is None else tuple(run.reached(threshold) for run in runs),
        comparison=None,
        conclusion=None,
    )


def _judged(lines: list[Line]) -> Iterable[Line]:
    """Compare every line but the first with the first."""
    base, *others = lines
    found = [inference.compared(line.scores, base.scores) for line in others]
    adjusted = inference.holm([one.p if one else None for one in found])
    yield base
    for line, one, p in zip(others, found, adjusted, strict=True):
        failed = len(line.failed) + len(base.failed)
        told = inference.conclude(line.label, base.label, one, p, failed)
        yield replace(line, comparison=one, conclusion=told)


# --- what must be said ---------------------------------------------------------------------------


def _absent(groups: Sequence[Group]) -> Iterable[str]:
    for group in groups:
        for line in group.lines:
            where = f"{line.label}, {group.title}"
            for seed, reason in line.failed.items():
                yield f"{where}, seed {seed}: failed ({reason}); it has no score."
            for seed, reason in line.collapsed.items():
                yield f"{where}, seed {seed}: collapsed ({reason}); its score counts."
        left: dict[str, list[int]] = {}
        for seed in sorted({seed for line in group.lines for seed in line.missing}):
            lacking = [line.label for line in group.lines if seed in line.missing]
            who = "all objectives" if len(lacking) == len(group.lines) else ", ".join(lacking)
            left.setdefault(who, []).append(seed)
        for who, seeds in left.items():
            yield f"{group.title}, {_seeds_were(seeds)} not run: {who}."


def _seeds_were(seeds: list[int]) -> str:
    """Begin a sentence of seeds, which are in order."""
    if len(seeds) == 1:
        return f"seed {seeds[0]} was"
    whole = len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1
    return f"seeds {f'{seeds[0]} to {seeds[-1]}' if whole else ', '.join(map(str, seeds))} were"


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
        starts.setdefault((result.trial.seed, result.trial.updates), set()).add(begun)
    odd = [
        f"{seed} ({updates} updates)" for (seed, updates), found in starts.items() if len(found) > 1
    ]
    if odd:
        yield (
            f"The runs of seed {', '.join(odd)} did not begin alike: score before training, reward or "
            "length of the first rollout differ."
        )


def _origins(folder: RaceFolder, results: Sequence[Result]) -> Iterable[str]:
    paths = [folder.run_folder(r.trial) / "provenance.json" for r in results if r.summary]
    origins = [files.read_json(path) for path in paths]
    for name, read in (
        ("commits", lambda o: o["commit"]),
        ("machines", lambda o: o["hardware"]["platform"]),
    ):
        found = sorted({str(read(origin)) for origin in origins})
        if len(found) > 1:
            yield f"The runs come from several {name}: {', '.join(found)}."
