"""The pictures of a race: learning curves with bands over seeds, final scores, differences."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import stdev

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from maspo.evaluation.estimators import Estimate
from maspo.lab.race.results import Analysis, Group, Line
from maspo.lab.style import AXIS, COLORS, GRID, INK, style_axes

"""Okabe and Ito's colours and four more, by the names they have in the page; the baseline is gray."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A metric shown against completions."""

    name: str
    key: str
    axis: str
    note: str


CURVES = (
    Curve(
        name="reward",
        key="reward",
        axis="Mean reward in training",
        note="Mean over seeds of the running mean; the band is one standard error.",
    ),
    Curve(
        name="entropy",
        key="entropy",
        axis="Entropy (nats a token)",
        note="Falling towards zero means that the policy has stopped exploring.",
    ),
    Curve(
        name="gate",
        key="maspo/gate_mean",
        axis="Mean gate",
        note="1 keeps a token's whole weight; what is below is held back.",
    ),
    Curve(
        name="gradient_mass",
        key="maspo/grad_mass_vs_clip",
        axis="Gradient mass / GRPO's",
        note="Gradient mass kept, divided by what a hard clip would keep of the same tokens.",
    ),
    Curve(
        name="length",
        key="completions/mean_length",
        axis="Tokens a completion",
        note="Mean length of the sampled completions.",
    ),
)


def color_names(analysis: Analysis) -> dict[str, str]:
    """Give each objective a colour by name; beyond eleven they begin anew."""
    names = list(COLORS)
    return {label: names[i % len(names)] for i, label in enumerate(analysis.plan.labels)}


def race_figures(analysis: Analysis) -> dict[str, Figure]:
    """Draw every picture that there are values for, by name."""
    figures = {curve.name: _curves(analysis, curve) for curve in CURVES}
    figures |= {"final": _final(analysis), "differences": _differences(analysis)}
    figures |= {"rates": _rates(analysis)}
    return {name: figure for name, figure in figures.items() if figure is not None}


def _curves(analysis: Analysis, curve: Curve) -> Figure | None:
    groups = [g for g in analysis.groups if any(line.curve(curve.key) for line in g.lines)]
    if not groups:
        return None
    colors = color_names(analysis)
    figure = Figure(
        figsize=(1.6 + 3.9 * len(groups), 3.4), dpi=160, layout="constrained", facecolor="white"
    )
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for axes, group in zip(panels, groups, strict=True):
        for line in group.lines:
            if found := line.curve(curve.key):
                x, middle, error = found
                color = COLORS[colors[line.label]]
                low = [m - e for m, e in zip(middle, error, strict=True)]
                high = [m + e for m, e in zip(middle, error, strict=True)]
                axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
                axes.plot(x, middle, color=color, linewidth=1.8)
        style_axes(axes)
        axes.set_xlabel("Completions sampled")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n / 1000:g}k" if n else "0"))
        _head(analysis, axes, group)
    panels[0].set_ylabel(curve.axis)
    handles = [
        Line2D([], [], color=COLORS[color], linewidth=2.5, label=label)
        for label, color in colors.items()
    ]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)
    return figure


def _rates(analysis: Analysis) -> Figure | None:
    """Draw the score against the learning rate, mean and standard error over seeds."""
    sweeps = [s for s in analysis.sweeps if any(curve.scores for curve in s.curves)]
    if not sweeps:
        return None
    colors = color_names(analysis)
    figure = Figure(
        figsize=(2.6 + 3.4 * len(sweeps), 3.6), dpi=160, layout="constrained", facecolor="white"
    )
    panels = figure.subplots(1, len(sweeps), sharey=True, squeeze=False)[0]
    for axes, sweep in zip(panels, sweeps, strict=True):
        for curve in sweep.curves:
            columns = list(zip(*curve.scores.values(), strict=True))
            errors = [stdev(c) / len(c) ** 0.5 if len(c) > 1 else 0.0 for c in columns]
            axes.errorbar(
                sweep.rates[: len(columns)],
                [100 * mean for mean in curve.means],
                [100 * error for error in errors],
                color=COLORS[colors[curve.label]],
                marker="o",
                markersize=4,
                linewidth=1.8,
                elinewidth=1,
                label=curve.label,
            )
        axes.set_xscale("log")
        axes.set_xticks(sweep.rates, [f"{rate:g}" for rate in sweep.rates])
        axes.minorticks_off()
        axes.set_xlabel("Learning rate")
        style_axes(axes)
        if len(sweeps) > 1:
            axes.set_title(str(sweep.condition), color=INK, size=10)
    panels[0].set_ylabel(f"{analysis.metric.capitalize()} after training (%)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)
    return figure


def _head(analysis: Analysis, axes: Axes, group: Group) -> None:
    if len(analysis.groups) > 1:
        axes.set_title(group.title, color=INK, size=10)


def _final(analysis: Analysis) -> Figure | None:
    """Draw the score of every run, and mean with interval."""
    label = f"{analysis.metric.capitalize()} after training (%)"
    return _forest(analysis, analysis.plan.labels, label, against=False)


def _differences(analysis: Analysis) -> Figure | None:
    """Draw the paired differences to the baseline, seed by seed, and mean with interval."""
    label = f"{analysis.metric.capitalize()} minus that of {analysis.baseline} by seed (points)"
    return _forest(analysis, analysis.plan.labels[1:], label, against=True)


def _forest(analysis: Analysis, labels: list[str], label: str, *, against: bool) -> Figure | None:
    groups, colors = analysis.groups, color_names(analysis)
    if not any(_shown(line, against) for group in groups for line in group.lines):
        return None
    figure = Figure(
        figsize=(2.4 + 3.1 * len(groups), 1.1 + 0.36 * len(labels)),
        dpi=160,
        layout="constrained",
        facecolor="white",
    )
    panels = figure.subplots(1, len(groups), sharex=True, sharey=True, squeeze=False)[0]
    for axes, group in zip(panels, groups, strict=True):
        base = group.lines[0].scores if against else {}
        for line in group.lines:
            if found := _shown(line, against):
                height, color = labels.index(line.label), COLORS[colors[line.label]]
                shared = [seed for seed in line.scores if not against or seed in base]
                runs = [100 * (line.scores[seed] - base.get(seed, 0.0)) for seed in shared]
                _dots(axes, found, runs, height, color)
        if against:
            axes.axvline(0, color=INK, linewidth=0.8, zorder=0)
        elif group.start is not None:
            axes.axvline(100 * group.start, color=AXIS, linewidth=1, linestyle=(0, (3, 2)))
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        style_axes(axes)
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        _head(analysis, axes, group)
    figure.supxlabel(label, color=INK, size=10)
    return figure


def _shown(line: Line, against: bool) -> Estimate | None:
    if not against:
        return line.score
    return None if line.comparison is None else line.comparison.difference


def _dots(axes: Axes, found: Estimate, runs: list[float], height: int, color: str) -> None:
    axes.plot(runs, [height] * len(runs), "o", color=color, alpha=0.35, ms=5)
    if found.low is not None and found.high is not None:
        axes.plot([100 * found.low, 100 * found.high], [height] * 2, color=color, linewidth=2.2)
    axes.plot(100 * found.value, height, "D", color=color, ms=6, mec="white")
