"""Several evaluations written down: Markdown, LaTeX and one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maspo.errors import InputError
from maspo.evaluation.score_file import BenchmarkScores
from maspo.lab.formatting import MISSING, mean_reward, percent, shortened, significant
from maspo.lab.page import render_page, write_page
from maspo.lab.scores import tables
from maspo.lab.scores.comparison import Comparison, title
from maspo.lab.scores.load import LabelledScores
from maspo.lab.style import COLORS

_COLORS = [name for name in COLORS if name != "gray"]


def write_comparison(comparison: Comparison, out: Path) -> list[Path]:
    """Write `report.md`, `report.tex` and `report.html` into a folder; return their paths.

    The page is one file that needs no network. Raises InputError where `out` is not a folder.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is not a folder")
    out.mkdir(parents=True, exist_ok=True)
    return [
        write_page(out / "report.md", tables.comparison_markdown(comparison)),
        write_page(out / "report.tex", tables.latex(comparison)),
        write_page(out / "report.html", comparison_page(comparison)),
    ]


def comparison_page(comparison: Comparison) -> str:
    """Render the HTML page."""
    ks = _doublings(comparison.ks[-1])
    return render_page(
        "scores.html.j2",
        comparison=comparison,
        tables=tables,
        missing=MISSING,
        percent=percent,
        headline=comparison_headline(comparison),
        mean_reward=mean_reward,
        rewarded=tables.rewarded(comparison),
        charts=_charts(comparison),
        curve_ks=ks,
        curves=[
            (run.label, title(name), [_at(run.benchmarks[name], k) for k in ks])
            for name in comparison.benchmarks
            for run in comparison.runs
            if name in run.benchmarks
        ],
    )


def comparison_headline(comparison: Comparison) -> str:
    """Say what the page compares."""
    runs, benchmarks = len(comparison.runs), comparison.columns[:-1]
    what = benchmarks[0] if len(benchmarks) == 1 else f"{len(benchmarks)} benchmarks"
    who = comparison.base if runs == 1 else f"{runs} runs"
    return f"{tables.heading(comparison)} of {who} on {what}"


def _doublings(highest: int) -> list[int]:
    """1, 2, 4, ... and the highest."""
    powers = [2**i for i in range(highest.bit_length())]
    return powers if powers[-1] == highest else [*powers, highest]


def _at(scores: BenchmarkScores, k: int) -> str:
    found = scores.pass_curve.get(k)
    return MISSING if found is None else f"{100 * found.value:.1f}"


def _charts(comparison: Comparison) -> dict[str, Any]:
    """Make the data of the curves, as the script of the reports reads it: x is every k."""
    ks = list(range(1, comparison.ks[-1] + 1))
    charts = []
    for name in comparison.benchmarks:
        measured = [(i, run) for i, run in enumerate(comparison.runs) if name in run.benchmarks]
        series = [_series(run, name, ks, _COLORS[i % len(_COLORS)]) for i, run in measured]
        sizes = sorted({run.benchmarks[name].problems for _, run in measured})
        note = f"{' or '.join(map(str, sizes))} problems."
        charts.append({"axis": title(name), "group": None, "series": series, "note": note})
    looks = {"percent": True, "log": False}
    return {"x": {"k": ks}, "charts": [chart | looks for chart in charts]}


def _series(run: LabelledScores, name: str, ks: Sequence[int], color: str) -> dict[str, Any]:
    curve = run.benchmarks[name].pass_curve
    values, lows, highs = (
        [significant(getattr(curve[k], part)) if k in curve else None for k in ks]
        for part in ("value", "low", "high")
    )
    band = {"low": lows, "high": highs} if lows[0] is not None else {"low": [], "high": []}
    return {"label": shortened(run.label), "color": color, "raw": values, "mean": values, **band}
