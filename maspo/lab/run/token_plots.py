"""Pictures of the tokens that a run has seen: where they lie, and where the gradient goes."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from maspo.core.objective import Objective
from maspo.lab.explore.weights import weights_on_grid
from maspo.lab.run.replay import OWN, QUADRANTS, Replay
from maspo.lab.style import COLORS, INK, style_axes

LOWEST = 1e-5
"""Least probability on the map; rarer tokens stand at its edge."""
BLUES = LinearSegmentedColormap.from_list("tokens", ["#BFDDF2", "#3E94CC", "#00304D"])
RATIO_TICKS = {
    2.0: (0.01, 0.1, 1, 10, 100),
    1.1: (0.2, 0.5, 1, 2, 5),
    0.5: (0.5, 0.7, 1, 1.4, 2),
    0.0: (0.8, 0.9, 1, 1.1, 1.25),
}
"""By how far the logarithm of the ratio reaches at least."""
BAND_WORDS = {"low": "below 0.1", "mid": "0.1 to 0.9", "high": "above 0.9"}
SHADES = ("#56B4E9", "#0072B2", "#00466E", "#F5A26B", "#D55E00", "#7F3800")
"""One for each of `QUADRANTS`: blue for A > 0, orange for A < 0, darker with the probability."""


def token_figures(found: Replay) -> dict[str, Figure]:
    """Draw the pictures of a replay, by name."""
    return {
        "tokens_seen": seen_figure(found),
        "gradient_by_probability": mass_figure(found),
        "gate_by_quadrant": quadrant_figure(found),
    }


def seen_figure(found: Replay) -> Figure:
    """Draw how many tokens lie where, over ratio and π_old, with the contour of the run's gate.

    The gate is that at the median advantage of each sign; an objective that couples the batch has
    no contour.
    """
    figure = Figure(figsize=(9.2, 3.8), dpi=160, layout="constrained", facecolor="white")
    logs, probabilities, advantages = _tokens(found)
    reach = max(0.25, float(np.quantile(np.abs(logs), 0.999)))
    lowest = 10.0 ** np.floor(np.log10(max(LOWEST, 0.99 * probabilities.min())))
    x = np.exp(np.linspace(-reach, reach, 62))  # an even number of edges: the middle bin holds 1
    y = np.geomspace(lowest, 1, 41)
    inside = np.exp(logs.clip(-reach, reach)), probabilities.clip(lowest, 1)
    panels = figure.subplots(1, 2, sharey=True)
    signs = [advantages > 0, advantages < 0]
    counts = [np.histogram2d(*(v[sign] for v in inside), bins=(x, y))[0] for sign in signs]
    scale = LogNorm(1, max(2.0, max(c.max() for c in counts)))
    for axes, sign, count, name in zip(panels, signs, counts, ("A > 0", "A < 0"), strict=True):
        seen = np.ma.masked_equal(count.T, 0)
        mesh = axes.pcolormesh(x, y, seen, norm=scale, cmap=BLUES, rasterized=True)
        if not found.own.couples_batch and sign.any():
            _contour(axes, found.own, float(np.median(advantages[sign])), x, y)
        axes.set(xscale="log", yscale="log", xlim=(x[0], x[-1]), ylim=(y[0], 1))
        axes.set_title(f"${name}$", color=INK)
        axes.set_xlabel("Ratio $π\\,/\\,π_{old}$")
        ticks = next(ticks for limit, ticks in RATIO_TICKS.items() if reach > limit)
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        style_axes(axes)
        axes.margins(0)
    panels[0].set_ylabel("$π_{old}$")
    figure.colorbar(mesh, ax=panels, pad=0.01).set_label("Tokens", color=INK)
    return figure


def _tokens(found: Replay) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    parts = [
        (one.batch.log_ratio[one.batch.mask], one.batch.old_log_probs[one.batch.mask].exp(),
         one.batch.advantages[one.batch.mask])
        for one in found.batches
    ]  # fmt: skip
    logs, probabilities, advantages = (torch.cat(x).numpy() for x in zip(*parts, strict=True))
    return logs, probabilities, advantages


def _contour(axes: Axes, own: Objective, advantage: float, x: np.ndarray, y: np.ndarray) -> None:
    """Draw where the gate leaves 90% and 50% of a token's weight, at this advantage."""
    ratios, probabilities = np.geomspace(x[0], x[-1], 301), np.geomspace(y[0], 1, 81)
    found = weights_on_grid(own, probabilities, advantages=np.array([advantage]), ratios=ratios)
    share = np.ma.masked_invalid(found[found.shape[0] // 2, 0] / ratios)
    for level, style, width in ((0.9, "dashed", 1.3), (0.5, "solid", 2.2)):
        if share.min() < level:
            look = {"colors": COLORS["orange"], "linestyles": style, "linewidths": width}
            axes.contour(ratios, probabilities, share, levels=[level], **look)
            axes.plot([], [], color=COLORS["orange"], ls=style, lw=width, label=f"gate {level}")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", frameon=False, fontsize="small")


def mass_figure(found: Replay) -> Figure:
    """Draw which tokens the gradient comes from, by π_old and sign of A, for every objective."""
    labels = list(found.results)
    shares = [found.total(label).by_quadrant() for label in labels]
    height = 1.3 + 0.36 * len(labels)
    figure = Figure(figsize=(8.2, height), dpi=160, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    left = np.zeros(len(labels))
    for key, color in zip(QUADRANTS, SHADES, strict=True):
        width = np.array([each[key]["mass"] for each in shares])
        axes.barh(labels, width, left=left, color=color, label=_words(key), height=0.7)
        left += width
    axes.invert_yaxis()
    axes.set_xlabel("Share of the gradient mass, $Σ|w A|$")
    axes.set_xlim(0, 1)
    style_axes(axes)
    axes.grid(visible=False)
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, fontsize="small"
    )
    return figure


def quadrant_figure(found: Replay) -> Figure:
    """Draw mean gate and mean weight of the run's own objective by π_old and sign of A."""
    figure = Figure(figsize=(8.2, 3.0), dpi=160, layout="constrained", facecolor="white")
    own = found.total(OWN).by_quadrant()
    for axes, (key, name) in zip(
        figure.subplots(1, 2),
        (("gate_mean", "Mean gate"), ("weight_mean", "Mean weight (effective ratio)")),
        strict=True,
    ):
        places = [i + (i > 2) for i in range(len(QUADRANTS))]
        axes.bar(places, [own[q][key] for q in QUADRANTS], color=SHADES)
        words = [f"{BAND_WORDS[q[:-6]]}\nn = {own[q]['tokens']:.0f}" for q in QUADRANTS]
        axes.set_xticks(places, words, fontsize=6.5)
        for place, word in ((1, "$A > 0$"), (5, "$A < 0$")):
            at = axes.get_xaxis_transform()
            axes.text(place, -0.22, word, transform=at, ha="center", va="top", color=INK)
        axes.set_xlabel("by $π_{old}$", labelpad=16)
        axes.set_ylabel(name)
        style_axes(axes)
    return figure


def _words(quadrant: str) -> str:
    band, _, sign = quadrant.partition(" ")
    return f"{sign}, $π_{{old}}$ {BAND_WORDS[band]}"
