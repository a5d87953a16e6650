"""A race written down: one HTML page, Markdown, figures, and the numbers of every run as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from maspo import files
from maspo.lab.formatting import significant
from maspo.lab.page import render_page, write_page
from maspo.lab.race.analysis import analyse
from maspo.lab.race.figures import CURVES, Curve, color_names, race_figures
from maspo.lab.race.folder import RaceFolder
from maspo.lab.race.plan import Condition
from maspo.lab.race.results import Analysis, Group, Line
from maspo.lab.race.text import (
    HEADS,
    cells,
    legend,
    origin,
    proof,
    race_headline,
    short_label,
    sweep_legend,
    sweep_table,
    tuned_on,
    tuning,
)
from maspo.lab.race.tolerance import Sweep
from maspo.recipes import dump_recipe

POINTS_OF_A_CURVE = 200


def write_race(folder: RaceFolder) -> Analysis:
    """Read a race as far as it has come and write report.html, report.md, results.json and plots/*.png."""
    analysis, manifest = analyse(folder), folder.manifest
    plots = folder.path / "plots"
    plots.mkdir(exist_ok=True)
    figures = race_figures(analysis)
    for name, figure in figures.items():
        figure.savefig(plots / f"{name}.png", metadata={"Software": None})
    files.write_json(folder.path / "results.json", results(analysis))
    write_page(folder.path / "report.md", race_markdown(analysis, manifest, list(figures)))
    write_page(folder.path / "report.html", race_page(analysis, manifest, list(figures)))
    return analysis


def results(analysis: Analysis) -> dict[str, Any]:
    """Give the figures of the report and those of every run, as plain data."""

    def line(one: Line, condition: Condition) -> dict[str, Any]:
        runs = {
            str(run.result.trial.seed): {
                "score": run.result.score,
                "reward_area": run.area,
                "completions_to_threshold": reached,
                "collapsed": run.collapse,
                "train_seconds": (run.result.summary or {}).get("train_seconds"),
            }
            for run, reached in zip(one.runs, one.reached or [None] * len(one.runs), strict=True)
        }
        against = None if one.comparison is None else asdict(one.comparison)
        return {
            "objective": one.label,
            "learning_rate": one.learning_rate,
            "tried": analysis.tried.get((one.label, condition), {}),
            "score": one.score and asdict(one.score),
            "iqm": one.iqm and asdict(one.iqm),
            "reward_area": one.area and asdict(one.area),
            "against_baseline": against,
            "conclusion": one.conclusion and one.conclusion.text,
            "runs": runs,
            "failed": one.failed,
            "missing": list(one.missing),
        }

    groups = [
        {
            "updates_per_rollout": group.condition.updates,
            "staleness": group.condition.staleness,
            "score_before": group.start,
            "threshold": group.threshold,
            "sweep": [asdict(curve) for s in _sweeps(analysis, group) for curve in s.curves],
            "objectives": [line(one, group.condition) for one in group.lines],
        }
        for group in analysis.groups
    ]
    return {
        "metric": analysis.metric,
        "baseline": analysis.baseline,
        "groups": groups,
        "notes": list(analysis.notes),
        "plan": analysis.plan.describe(),
    }


# --- Markdown ------------------------------------------------------------------------------------


def race_markdown(analysis: Analysis, manifest: dict[str, Any], figures: list[str]) -> str:
    """Write the race as Markdown, its figures linked from plots/."""
    parts = [f"# {race_headline(analysis)}", _items(one.text for one in analysis.claims())]
    if analysis.notes:
        parts += ["To know before believing a figure:", _items(analysis.notes)]
    for group in analysis.groups:
        parts += [f"## {group.title.capitalize()}", _items(one.text for one in group.conclusions)]
        parts += [_table([list(HEADS), *_rows(analysis, group)]), legend(analysis, group)]
        for sweep in _sweeps(analysis, group):
            parts += [_table(sweep_table(sweep)), sweep_legend(analysis)]
            parts += [_items(one.text for one in analysis.of_tolerance(group))]
        if analysis.tried:
            parts += [_table(tuning(analysis, group)), tuned_on(analysis)]
    parts += [f"![{name}](plots/{name}.png)" for name in figures]
    parts += ["## What is the same, and what is not", _proof(analysis)]
    parts += ["## Where this comes from", _items(f"{k}: {v}" for k, v in origin(manifest).items())]
    return "\n\n".join(part for part in parts if part) + "\n"


def _sweeps(analysis: Analysis, group: Group) -> list[Sweep]:
    """Return the sweep under the condition of a group, where there is one."""
    return [sweep for sweep in analysis.sweeps if sweep.condition == group.condition]


def _items(lines: Any) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _rows(analysis: Analysis, group: Group) -> list[list[str]]:
    return [[f"{a} {b}".strip() for a, b in cells(analysis, line)] for line in group.lines]


def _table(rows: list[list[str]]) -> str:
    head, *rest = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rest])


def _proof(analysis: Analysis) -> str:
    lines = [f"{count} differ in {text}" for text, count in proof(analysis)]
    told = "The recipes that were run, each compared key by key with the first of its seed:"
    return f"{told}\n\n{_items(lines)}"


# --- the page ------------------------------------------------------------------------------------


def race_page(analysis: Analysis, manifest: dict[str, Any], figures: list[str]) -> str:
    """Render the HTML page; without JavaScript it shows the figures in plots/."""
    return render_page(
        "race.html.j2",
        analysis=analysis,
        headline=race_headline(analysis),
        heads=HEADS,
        cells=cells,
        legend=legend,
        tuning=tuning,
        tuned_on=tuned_on(analysis),
        sweeps=_sweeps,
        sweep_table=sweep_table,
        sweep_legend=sweep_legend(analysis),
        scale=_scale(analysis),
        proof=proof(analysis),
        objectives={e.label: e.settings for e in analysis.plan.entrants},
        recipe=dump_recipe(analysis.plan.recipe),
        origin=origin(manifest),
        colors=color_names(analysis),
        charts=_charts(analysis),
        figures=figures,
    )


def _scale(analysis: Analysis) -> tuple[float, float]:
    """Give the ends of the axis that all scores lie on, a little beyond the extremes."""
    scores = [s for group in analysis.groups for line in group.lines for s in line.scores.values()]
    scores += [group.start for group in analysis.groups if group.start is not None]
    low, high = min(scores, default=0.0), max(scores, default=1.0)
    room = max(0.08 * (high - low), 0.005)
    return max(0.0, low - room), min(1.0, high + room)


def _charts(analysis: Analysis) -> dict[str, Any]:
    """Make the data of the curves, as the script of the reports reads it."""
    at = sorted(
        {x for g in analysis.groups for one in g.lines for r in one.runs for x in r.completions}
    )
    at = at[:: -(-len(at) // POINTS_OF_A_CURVE) or 1]
    charts = []
    for group in analysis.groups:
        for curve in CURVES:
            series = [one for one in _series(analysis, group, curve, at) if one]
            looks = {"axis": curve.axis, "note": curve.note, "percent": False, "log": False}
            if series:
                charts.append({"group": group.title, "series": series, **looks})
    return {"x": {"Completions": at}, "charts": charts}


def _series(analysis: Analysis, group: Group, curve: Curve, at: list[int]) -> list[dict[str, Any]]:
    colors = color_names(analysis)
    entrants = dict(zip(analysis.plan.labels, analysis.plan.entrants, strict=True))
    made = []
    for line in group.lines:
        found = line.curve(curve.key)
        if found is None:
            continue
        x, middle, error = found
        index = {value: i for i, value in enumerate(x)}

        def column(sign: int, index=index, middle=middle, error=error) -> list[float | None]:
            places = [index.get(value) for value in at]
            return [None if i is None else significant(middle[i] + sign * error[i]) for i in places]

        several = len(line.runs) > 1
        made.append({
            "label": short_label(entrants[line.label]),
            "color": colors[line.label],
            "raw": column(0),
            "mean": column(0),
            "low": column(-1) if several else [],
            "high": column(1) if several else [],
        })  # fmt: skip
    return made
