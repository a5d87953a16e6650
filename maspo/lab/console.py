"""What a person sees in the terminal: progress while a run goes on, a table when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from maspo.lab.formatting import percent_with_interval, points_with_interval
from maspo.lab.run.text import scores


class Screen:
    """Progress bars and tables on one console."""

    def __init__(self, console: Console) -> None:
        """Draw on `console`."""
        self.console = console
        self.latest: dict[str, float] = {}

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Progress]:
        """Show one bar while the block runs; its only task is `progress.tasks[0]`."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("[dim]left[/dim]"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[news]}"),
        )
        with Progress(*columns, console=self.console) as bar:
            bar.add_task(what, total=total, news="")
            yield bar

    def training_news(self, line: dict[str, Any]) -> str:
        """Say in a few words how training goes: reward, entropy, gate."""
        names = {"reward": "reward", "entropy": "entropy", "maspo/gate_mean": "gate"}
        self.latest |= {
            short: line[key] for key, short in names.items() if line.get(key) is not None
        }
        return "  ".join(f"{short} {value:.3f}" for short, value in self.latest.items())

    def results(self, summary: dict[str, Any]) -> None:
        """Print before and after with their intervals."""
        before, after = summary["before"], summary["after"]
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("", "before", "after", "change"):
            table.add_column(name, justify="left" if not name else "right")
        for name in scores(summary):
            none = (None, None)  # of a single problem
            cells = [
                percent_with_interval(side[name], *side["intervals"].get(name, none))
                for side in (before, after)
            ]
            change, low, high = summary["difference"].get(name, (after[name] - before[name], *none))
            table.add_row(name, *cells, points_with_interval(change, low, high, 0))
        tokens = [f"{side['mean_tokens']:.1f}" for side in (before, after)]
        table.add_row("mean tokens", *tokens, "")
        self.console.print()
        self.console.print(table)
        self.console.print(
            f"[dim]{after['problems']} held-out problems x {after['samples']} samples, 95% intervals "
            f"over problems; trained {summary['train_seconds']:.0f} s, "
            f"{summary['total_seconds']:.0f} s in all[/dim]"
        )
