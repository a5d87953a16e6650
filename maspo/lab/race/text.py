"""A race in words and tables, the same in Markdown and on the page."""

from __future__ import annotations

from typing import Any

from maspo.core.settings import settings_of
from maspo.evaluation.estimators import LEVEL, Estimate
from maspo.lab.formatting import MISSING, interval_text, percent, points, shortened
from maspo.lab.objective_list import Entrant
from maspo.lab.race.analysis import WAY
from maspo.lab.race.inference import FEWEST, median_reached
from maspo.lab.race.results import Analysis, Group, Line
from maspo.lab.race.tolerance import Factor, Sweep
from maspo.objectives import OBJECTIVES


def race_headline(analysis: Analysis) -> str:
    """Say what the race was, and how many objectives it told from the baseline."""
    conclusions = [one for group in analysis.groups for one in group.conclusions]
    better, worse = (sum(v.finding == word for v in conclusions) for word in ("better", "worse"))
    count, seeds = len(analysis.plan.entrants), len(analysis.plan.seeds)
    raced = (
        f"{count} objectives on {analysis.plan.recipe.name}, {seeds} seed{'s' if seeds > 1 else ''}"
    )
    if not conclusions:
        return raced
    if seeds < FEWEST:
        return f"{raced}: too few to tell them apart"
    found = [f"{n} {word}" for n, word in ((better, "better"), (worse, "worse")) if n]
    if not found:
        return f"{raced}: none is shown to differ from {analysis.baseline}"
    of = f" of {len(conclusions)} comparisons" if len(analysis.groups) > 1 else ""
    return f"{raced}: {' and '.join(found)} than {analysis.baseline}{of}, the rest not told apart"


def share_text(found: Estimate | None) -> str:
    """Write a share in percent."""
    return MISSING if found is None else percent(found.value, 1)


def share_span(found: Estimate | None) -> str:
    """Write the interval of a share."""
    return "" if found is None else interval_text(found.low, found.high)


def gap(found: Estimate | None) -> str:
    """Write a difference in points."""
    return MISSING if found is None else points(found.value, 1)


def gap_span(found: Estimate | None) -> str:
    """Write the interval of a difference."""
    return "" if found is None else interval_text(found.low, found.high, signed=True)


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
    "Difference",
    "P(better)",
    "Mean",
    "IQM",
    "Runs",
    "Learning rate",
    "Area",
    "Completions to threshold",
)
"""What a race is for comes first: a phone shows no more than that."""


def cells(analysis: Analysis, line: Line) -> list[tuple[str, str]]:
    """Give the cells of a line of the table, in the order of HEADS: figure and interval."""
    rate = MISSING if line.learning_rate is None else f"{line.learning_rate:g}"
    change, chance = ("baseline", ""), ("", "")
    if line.label != analysis.baseline:
        versus = line.comparison
        change = gap(versus and versus.difference), gap_span(versus and versus.difference)
        chance = (
            share_text(versus and versus.improvement),
            share_span(versus and versus.improvement),
        )
    return [
        (line.label, ""),
        change,
        chance,
        (share_text(line.score), share_span(line.score)),
        (share_text(line.iqm), share_span(line.iqm)),
        (state(line, len(analysis.plan.seeds)), ""),
        (rate, ""),
        (MISSING if line.area is None else f"{line.area.value:.3f}", ""),
        (arrived(line), ""),
    ]


def tuning(analysis: Analysis, group: Group) -> list[list[str]]:
    """Give the table of the learning rates tried: a head, and a row for each objective."""
    rates, rows = analysis.plan.rates, []
    for line in group.lines:
        found = analysis.tried[line.label, group.condition]
        scores = [found[rate] for rate in rates]
        rows.append([line.label, *(MISSING if s is None else percent(s, 1) for s in scores)])
    return [["Learning rate", *(f"{rate:g}" for rate in rates)], *rows]


SWEEP_HEADS = ("Best", "at", "Tolerance", "Against the baseline")


def sweep_table(sweep: Sweep) -> list[list[str]]:
    """Give the table of the scores by learning rate: a head, and a row for each objective."""
    rows = []
    for curve in sweep.curves:
        means = [percent(mean, 1) for mean in curve.means] or [MISSING] * len(sweep.rates)
        best = MISSING if curve.best is None else percent(curve.best, 1)
        at = MISSING if curve.best_rate is None else f"{curve.best_rate:g}"
        row = [curve.label, *means, best, at]
        rows.append([*row, factor_text(curve.tolerance), factor_text(curve.against)])
    return [["Learning rate", *(f"{rate:g}" for rate in sweep.rates), *SWEEP_HEADS], *rows]


def factor_text(factor: Factor | None) -> str:
    """Write a factor on the learning rate, and its interval."""
    if factor is None:
        return MISSING
    told = f"{'' if factor.bound == 'both' else factor.bound} {factor.value:.2f}".strip()
    return told if factor.low is None else f"{told} [{factor.low:.2f}, {factor.high:.2f}]"


def sweep_legend(analysis: Analysis) -> str:
    """Explain the table of the learning rates."""
    return (
        f"{analysis.metric.capitalize()} in percent by learning rate, mean over seeds; best: the highest of "
        "them, whose rate was chosen on the same seeds, which flatters all alike. Tolerance: the "
        "factor by which the rate may exceed the best one before two points are lost, interpolated in "
        "the logarithm of the rate; at least, where they were not lost within the rates tried. It compares "
        "shapes, not step sizes: whatever halves every step doubles the best rate and leaves the tolerance. "
        f"Brackets: {LEVEL:.0%} bootstrap intervals over seeds, too narrow where seeds are few; "
        "paired for the last column. p-values are of Student's t on the jackknife's pseudo-values, "
        "adjusted by Holm's method."
    )


def tuned_on(analysis: Analysis) -> str:
    """Say what the table of the learning rates holds."""
    seeds = ", ".join(map(str, analysis.plan.tuning_seeds))
    return f"{analysis.metric.capitalize()} by learning rate in the runs for tuning, mean of seeds {seeds}."


def legend(analysis: Analysis, group: Group) -> str:
    """Explain the columns of the table of a group."""
    start = MISSING if group.start is None else percent(group.start, 1)
    told = (
        f"{analysis.metric.capitalize()} in percent after training ({start} before): mean and "
        "interquartile mean over seeds. Difference: to the baseline, paired by seed, in points. "
        "P(better): probability that a run scores above one of the baseline, ties half. Brackets: "
        f"{LEVEL:.0%} intervals over seeds, of means by Student's t, of IQM and P(better) by a "
        "bootstrap, which is too narrow where seeds are few; p-values are adjusted, by Holm's method, "
        "for the objectives of this table. Area: mean training reward on the way."
    )
    if group.threshold is None:
        return told
    return told + (
        f" Completions to threshold: until the training reward reaches {group.threshold:.3f}, "
        f"{WAY:.0%} of the baseline's way; median, and how many runs got there."
    )


def short_label(entrant: Entrant) -> str:
    """Give a name that fits beside a curve: settings by their symbols, without the objective's name."""
    symbols = {
        f.name: known.symbol for f, known in settings_of(OBJECTIVES[entrant.settings["name"]])
    }
    changed = [f"{symbols[k]}={v}" for k, v in entrant.settings.items() if k in symbols]
    return shortened(" ".join(changed) or entrant.label)


def proof(analysis: Analysis) -> list[tuple[str, str]]:
    """Pair the keys in which recipes of one seed differ with the number of runs that do."""
    counts: dict[str, int] = {}
    for keys in analysis.fairness.values():
        text = ", ".join(keys) or "nothing: the first of its seed, or equal to it"
        counts[text] = counts.get(text, 0) + 1
    return [(text, f"{count} run{'s' if count > 1 else ''}") for text, count in counts.items()]


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
