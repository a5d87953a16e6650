"""The pictures: the weight a method gives a token, and the curves of a training run."""

import math
from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    MultipleLocator,
    NullFormatter,
    StrMethodFormatter,
)

import maspo
from maspo.core.apply import apply_objective
from maspo.core.batch import TokenBatch
from maspo.lab.formatting import running_mean
from maspo.lab.run.charts import Chart, Series, present
from maspo.lab.style import COLORS, INK, style_axes


def training_figures(rows: list[dict], run: str = "") -> dict[str, Figure]:
    """Draw every chart that `rows` (the lines of `metrics.jsonl`) have values for, by name.

    A faint line is what was logged, a strong one its running mean. `run` stands above each.
    """
    return {chart.name: chart_figure(chart, series, rows, run) for chart, series in present(rows)}


def chart_figure(
    chart: Chart, series: Sequence[Series], rows: Sequence[dict], run: str = ""
) -> Figure:
    """Draw one chart over the steps of `rows`, under the name of the run."""
    figure = Figure(figsize=(6.4, 3.0), dpi=160, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    ends = []
    for one in series:
        steps, raw = zip(*_points(rows, one.metric), strict=True)
        mean = [value for value in running_mean(raw) if value is not None]
        color = COLORS[one.color]
        if one.band and (band := _band(rows, one.band)):
            at, low, high = zip(*band, strict=True)
            axes.fill_between(at, low, high, color=color, alpha=0.15, linewidth=0)
        elif mean != list(raw):
            axes.plot(steps, raw, color=color, alpha=0.25, linewidth=0.8)
        axes.plot(steps, mean, color=color, linewidth=2, marker="o" if len(raw) == 1 else None)
        ends.append((steps[-1], mean[-1], one.label, color))
    style_axes(axes)
    axes.set_title(run, loc="left", size=9, color=INK)
    axes.set_xlabel("Optimizer step")
    axes.set_ylabel(chart.axis)
    if chart.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        low, high = axes.get_ylim()
        if sum(low <= tick <= high for tick in axes.get_yticks()) < 2:
            axes.yaxis.set_major_locator(MaxNLocator(4))
    if chart.percent:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}%"))
    if len(ends) > 1:
        _label_ends(axes, ends)
    return figure


def _points(rows: Sequence[dict], key: str) -> list[tuple[float, float]]:
    return [(row["step"], row[key]) for row in rows if row.get(key) is not None]


def _band(rows: Sequence[dict], keys: tuple[str, str]) -> list[tuple[float, float, float]]:
    low, high = keys
    return [
        (row["step"], row[low], row[high])
        for row in rows
        if row.get(low) is not None and row.get(high) is not None
    ]


def _label_ends(axes: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Write each line's name beside its last point, lowest first, a text height apart."""
    axes.autoscale_view()
    to_axes = axes.transData + axes.transAxes.inverted()
    floor = -math.inf
    for x, y, label, color in sorted(ends, key=lambda end: end[1]):
        at = max(to_axes.transform((x, y))[1], floor + 0.085)
        floor = at
        axes.text(
            1.01, at, label, transform=axes.transAxes, color=color, va="center", weight="bold"
        )


# --- the picture of the method ---------------------------------------------------------------

MASPO_SHADES = {0.001: "#00466E", 0.1: "#1F86C7", 0.5: "#6DB6E3"}
# Where each label stands: panel's sign of A, ratio, weight, text, colour.
GATE_LABELS = (
    (1, 1.93, 2.85, "un-clipped", COLORS["gray"]),
    (1, 2.56, 2.31, "MASPO, $π_{old}$ = 0.001", MASPO_SHADES[0.001]),
    (1, 2.3, 2.01, "MASPO, $π_{old}$ = 0.1", MASPO_SHADES[0.1]),
    (1, 1.45, 1.13, "MASPO, $π_{old}$ = 0.5", MASPO_SHADES[0.5]),
    (1, 3.12, 1.27, "SAPO", COLORS["green"]),
    (1, 1.27, 0.14, "GRPO", COLORS["orange"]),
    (-1, 0.13, 0.56, "MASPO", MASPO_SHADES[0.1]),
    (-1, 0.25, 0.07, "GRPO", COLORS["orange"]),
    (-1, 1.66, 1.36, "SAPO", COLORS["green"]),
    (-1, 1.06, 1.76, "MASPO, GRPO,\nun-clipped", INK),
)


def weight_curve(objective, ratio: torch.Tensor, old_probability: float, sign: int) -> torch.Tensor:
    """Return the weight of one token at every `ratio` (1-D) for an advantage of +1 or -1."""
    old = torch.full((ratio.numel(), 1), math.log(old_probability), dtype=torch.float64)
    new = old + ratio.double().log().unsqueeze(1)
    advantages = torch.full((ratio.numel(),), float(sign), dtype=torch.float64)
    mask = torch.ones_like(old)
    batch = TokenBatch.clean(new, old, advantages, mask)
    return apply_objective(objective, batch).weights.squeeze(1)


def gate_figure() -> Figure:
    """Draw the weight of a token against its ratio, for both signs of the advantage.

    A MASPO curve ends in a dot where the new probability reaches 1.
    """
    figure = Figure(figsize=(9.2, 4.2), dpi=200, layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    _gate_panel(left, sign=1, limit=4)
    _gate_panel(right, sign=-1, limit=2)
    left.set_ylabel("Weight of $A\\,∇\\log π$")
    return figure


def _gate_panel(axes: Axes, *, sign: int, limit: int) -> None:
    ratio = torch.linspace(0.002, limit, 2001)

    def curve(objective: maspo.Objective, probability: float, color: str, **style) -> None:
        possible = ratio[ratio * probability <= 1]
        weight = weight_curve(objective, possible, probability, sign)
        axes.plot(possible, weight, color=color, solid_capstyle="round", **style)
        if len(possible) < len(ratio):
            axes.plot(possible[-1], weight[-1], "o", color=color, markersize=5)

    asked = (1, limit) if sign > 0 else (0, 1)
    axes.axvspan(*asked, color="#F5F2EB", linewidth=0)
    axes.text(sum(asked) / 2, 1.02 * limit, "already moved as $A$ asks", color=INK, ha="center")
    axes.plot(ratio, ratio, color=COLORS["gray"], linewidth=1.5, linestyle=(0, (1, 1.5)))
    for probability, color in MASPO_SHADES.items():
        curve(maspo.MASPO(), probability, color, linewidth=2.8)
    curve(maspo.SAPO(), 0.001, COLORS["green"], linewidth=1.8, linestyle=(0, (6, 2, 1, 2)))
    curve(maspo.GRPO(), 0.001, COLORS["orange"], linewidth=1.8, linestyle=(0, (4, 1.5)))
    for panel, x, y, label, color in GATE_LABELS:
        if panel == sign:
            axes.text(x, y, label, color=color, weight="bold", linespacing=1.3)
    style_axes(axes)
    axes.set(xlim=(0, limit), ylim=(0, limit), xlabel="Ratio $π\\,/\\,π_{old}$")
    axes.xaxis.set_major_locator(MultipleLocator(limit / 4))
    axes.yaxis.set_major_locator(MultipleLocator(limit / 4))
    name = "$A > 0$" if sign > 0 else "$A < 0$"
    axes.text(0.03, 0.93, name, transform=axes.transAxes, size=15, color=INK)
