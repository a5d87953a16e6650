"""A race written down: one HTML page, Markdown, figures, and the numbers of every run as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from maspo.core.settings import settings_of
from maspo.evaluation.estimators import Estimate
from maspo.lab import words
from maspo.lab.folder import RunFolder
from maspo.lab.page import render_page, write_page
from maspo.lab.race import Entrant
from maspo.lab.race_figures import CURVES, PALETTE, Curve, color_names, race_figures
from maspo.lab.race_folder import RaceFolder
from maspo.lab.race_results import Analysis, Group, Line, analyse
from maspo.lab.statistics import FEWEST, median_reached
from maspo.lab.tables import MISSING
from maspo.objectives import OBJECTIVES
from maspo.recipes import dump_recipe

MAX_POINTS = 200
_LABEL = 13  # characters that fit beside the end of a curve


def write_race(folder: RaceFolder) -> Analysis:
    """Read a race as far as it has come and write report.html, report.md, results.json and plots/*.png."""
    analysis, manifest = analyse(folder), folder.manifest
    plots = folder.path / "plots"
    plots.mkdir(exist_ok=True)
    figures = race_figures(analysis)
    for name, figure in figures.items():
        figure.savefig(plots / f"{name}.png", metadata={"Software": None})
    RunFolder(folder.path).write_json("results.json", results(analysis))
    write_page(folder.path / "report.md", markdown(analysis, manifest, list(figures)))
    write_page(folder.path / "report.html", page(analysis, manifest))
    return analysis


def results(analysis: Analysis) -> dict[str, Any]:
    """Give the figures of the report and those of every run, as plain data."""

    def line(one: Line) -> dict[str, Any]:
        runs = {
            str(run.result.cell.seed): {
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
            "score": one.score and asdict(one.score),
            "iqm": one.iqm and asdict(one.iqm),
            "reward_area": one.area and asdict(one.area),
            "against_baseline": against,
            "verdict": one.verdict and one.verdict.text,
            "runs": runs,
            "failed": one.failed,
            "missing": list(one.missing),
        }

    groups = [
        {
            "updates_per_rollout": group.updates,
            "score_before": group.start,
            "threshold": group.threshold,
            "objectives": [line(one) for one in group.lines],
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


# --- words ---------------------------------------------------------------------------------------


def headline(analysis: Analysis) -> str:
    """Say what the race was, and how many objectives it told from the baseline."""
    verdicts = [one for group in analysis.groups for one in group.verdicts]
    better, worse = (sum(v.finding == word for v in verdicts) for word in ("better", "worse"))
    count, seeds = len(analysis.plan.entrants), len(analysis.plan.seeds)
    raced = (
        f"{count} objectives on {analysis.plan.recipe.name}, {seeds} seed{'s' if seeds > 1 else ''}"
    )
    if not verdicts:
        return raced
    if seeds < FEWEST:
        return f"{raced}: too few to tell them apart"
    found = [f"{n} {word}" for n, word in ((better, "better"), (worse, "worse")) if n]
    if not found:
        return f"{raced}: none is shown to differ from {analysis.baseline}"
    of = f" of {len(verdicts)} comparisons" if len(analysis.groups) > 1 else ""
    return f"{raced}: {' and '.join(found)} than {analysis.baseline}{of}, the rest not told apart"


def share(found: Estimate | None) -> str:
    """Write a share in percent."""
    return MISSING if found is None else words.percent(found.value, 1)


def share_span(found: Estimate | None) -> str:
    """Write the interval of a share."""
    if found is None or found.low is None or found.high is None:
        return ""
    return f"[{100 * found.low:.1f}, {100 * found.high:.1f}]"


def gap(found: Estimate | None) -> str:
    """Write a difference in points."""
    return MISSING if found is None else words.points(found.value, 1)


def gap_span(found: Estimate | None) -> str:
    """Write the interval of a difference."""
    if found is None or found.low is None or found.high is None:
        return ""
    return f"[{words.points(found.low, 1)}, {words.points(found.high, 1)}]"


def arrived(line: Line) -> str:
    """Write the median completions to the threshold, and how many runs reached it."""
    if not line.reached:
        return MISSING
    count = sum(at is not None for at in line.reached)
    middle = median_reached(line.reached)
    told = f"{middle:,.0f}" if middle is not None else "not reached"
    return f"{told} ({count} of {len(line.reached)})"


def state(line: Line, seeds: int) -> str:
    """Write how many runs finished, failed, collapsed, and are missing."""
    told = [f"{len(line.runs)} of {seeds}"]
    for count, word in (
        (len(line.collapsed), "collapsed"),
        (len(line.failed), "failed"),
        (len(line.missing), "not run"),
    ):
        if count:
            told.append(f"{count} {word}")
    return ", ".join(told)


HEADS = (
    "Objective",
    "Learning rate",
    "Runs",
    "Mean",
    "IQM",
    "Difference",
    "P(better)",
    "Area",
    "Completions to threshold",
)


def cells(analysis: Analysis, line: Line) -> list[tuple[str, str]]:
    """Give the cells of a line of the table, in the order of HEADS: figure and interval."""
    rate = MISSING if line.learning_rate is None else f"{line.learning_rate:g}"
    change, chance = ("baseline", ""), ("", "")
    if line.label != analysis.baseline:
        versus = line.comparison
        change = gap(versus and versus.difference), gap_span(versus and versus.difference)
        chance = share(versus and versus.improvement), share_span(versus and versus.improvement)
    return [
        (line.label, ""),
        (rate, ""),
        (state(line, len(analysis.plan.seeds)), ""),
        (share(line.score), share_span(line.score)),
        (share(line.iqm), share_span(line.iqm)),
        change,
        chance,
        (MISSING if line.area is None else f"{line.area.value:.3f}", ""),
        (arrived(line), ""),
    ]


def legend(analysis: Analysis, group: Group) -> str:
    """Explain the columns of the table of a group."""
    start = MISSING if group.start is None else words.percent(group.start, 1)
    told = (
        f"{analysis.metric.capitalize()} in percent after training ({start} before): mean and "
        "interquartile mean over seeds. Difference: to the baseline, paired by seed, in points. "
        "P(better): probability that a run scores above one of the baseline, ties half. Brackets: "
        "95% bootstrap intervals over seeds, which are too narrow where seeds are few; p-values are "
        "adjusted, by Holm's method, for the objectives of this table. Area: mean training reward "
        "on the way."
    )
    if group.threshold is None:
        return told
    return told + (
        f" Completions to threshold: until the training reward reaches {group.threshold:.3f}, four "
        "fifths of the baseline's way; median, and how many runs got there."
    )


def short_label(entrant: Entrant) -> str:
    """Give a name that fits beside a curve: settings by their symbols, without the objective's name."""
    symbols = {
        f.name: known.symbol for f, known in settings_of(OBJECTIVES[entrant.settings["name"]])
    }
    changed = [f"{symbols[k]}={v}" for k, v in entrant.settings.items() if k in symbols]
    label = " ".join(changed) or entrant.label
    return label if len(label) <= _LABEL else label[: _LABEL - 1] + "…"


# --- Markdown ------------------------------------------------------------------------------------


def markdown(analysis: Analysis, manifest: dict[str, Any], figures: list[str]) -> str:
    """Write the race as Markdown, its figures linked from plots/."""
    parts = [f"# {headline(analysis)}", _items(one.text for one in analysis.claims())]
    if analysis.notes:
        parts += ["To know before believing a figure:", _items(analysis.notes)]
    for group in analysis.groups:
        parts += [f"## {group.title.capitalize()}", _items(one.text for one in group.verdicts)]
        parts += [_grid(analysis, group), legend(analysis, group)]
    parts += [f"![{name}](plots/{name}.png)" for name in figures]
    parts += ["## What is the same, and what is not", _proof(analysis)]
    parts += ["## Where this comes from", _items(f"{k}: {v}" for k, v in origin(manifest).items())]
    return "\n\n".join(part for part in parts if part) + "\n"


def _items(lines: Any) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _grid(analysis: Analysis, group: Group) -> str:
    rows = [list(HEADS), ["---"] * len(HEADS)]
    for line in group.lines:
        rows.append([f"{a} {b}".strip() for a, b in cells(analysis, line)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def proof(analysis: Analysis) -> list[tuple[str, str]]:
    """Pair the keys in which recipes of one seed differ with the number of runs that do."""
    counts: dict[str, int] = {}
    for keys in analysis.fairness.values():
        text = ", ".join(keys) or "nothing: the first of its seed, or equal to it"
        counts[text] = counts.get(text, 0) + 1
    return [(text, f"{count} run{'s' if count > 1 else ''}") for text, count in counts.items()]


def _proof(analysis: Analysis) -> str:
    lines = [f"{count} differ in {text}" for text, count in proof(analysis)]
    told = "The recipes that were run, each compared key by key with the first of its seed:"
    return f"{told}\n\n{_items(lines)}"


def origin(manifest: dict[str, Any]) -> dict[str, Any]:
    """Give command, versions and machine, flat."""
    found = manifest["provenance"]
    hardware = found["hardware"]
    return {
        "command": found["command"],
        "started": found["started"],
        "commit": found["commit"],
        "machine": f"{hardware['platform']}, {hardware['cpus']} CPUs",
        "gpus": ", ".join(hardware["gpus"]) or "none",
        "threads of a run": manifest["threads"],
        "plan": manifest["fingerprint"][:16],
        **found["versions"],
    }


# --- the page ------------------------------------------------------------------------------------


def page(analysis: Analysis, manifest: dict[str, Any]) -> str:
    """Render the HTML page."""
    return render_page(
        "race.html.j2",
        analysis=analysis,
        headline=headline(analysis),
        heads=HEADS,
        cells=cells,
        legend=legend,
        scale=_scale(analysis),
        proof=proof(analysis),
        objectives={e.label: e.settings for e in analysis.plan.entrants},
        recipe=dump_recipe(analysis.plan.recipe),
        origin=origin(manifest),
        colors=color_names(analysis),
        palette=PALETTE,
        charts=_charts(analysis),
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
    at = at[:: -(-len(at) // MAX_POINTS) or 1]
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
            return [None if i is None else _short(middle[i] + sign * error[i]) for i in places]

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


def _short(value: float) -> float:
    return float(f"{value:.5g}")
