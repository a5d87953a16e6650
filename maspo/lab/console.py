"""What a person sees in the terminal: progress while a run goes on, a table when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from maspo.lab.formatting import mean_reward, percent_with_interval, points_with_interval
from maspo.lab.run.text import judged_on, mean_rewards, saved_model, scores


class Counter:
    """A line of a progress display: how much of something is done."""

    def __init__(self, progress: Progress, what: str) -> None:
        """Take the display and a name; the line appears with `begin`."""
        self._progress, self._what = progress, what
        self._task: TaskID | None = None

    def begin(self, total: int) -> None:
        """Show the line, at 0 of `total`."""
        self._task = self._progress.add_task(self._what, total=total, news="")

    def advance(self, more: int, news: str = "") -> None:
        """Count `more` as done."""
        if self._task is not None:
            self._progress.update(self._task, advance=more, news=news)

    def end(self) -> None:
        """Take the line away."""
        if self._task is not None:
            self._progress.remove_task(self._task)

    def reach(self, done: int, news: str = "") -> None:
        """Count `done` in all."""
        if self._task is not None:
            self._progress.update(self._task, completed=done, news=news)


class Teller(Protocol):
    """What is told a person."""

    def say(self, line: str, style: str | None = None) -> None:
        """Tell a line."""
        ...

    def warn(self, sentence: str) -> None:
        """Tell a warning."""
        ...


class Screen:
    """Progress and tables on one console."""

    def __init__(self, console: Console) -> None:
        """Draw on `console`."""
        self.console = console
        self.latest: dict[str, float] = {}
        self._progress: Progress | None = None

    @contextmanager
    def counter(self, what: str, total: int | None = None) -> Iterator[Counter]:
        """Yield a counter for the block; with `total` its line is there at once.

        A counter within another one's block is a further line of the same display.
        """
        outermost = self._progress is None
        with self._display() as progress:
            counter = Counter(progress, what)
            if total is not None:
                counter.begin(total)
            yield counter
            if not outermost:
                counter.end()

    @contextmanager
    def _display(self) -> Iterator[Progress]:
        if self._progress is not None:
            yield self._progress
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("[dim]left[/dim]"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[news]}"),
        )
        try:
            with Progress(*columns, console=self.console) as self._progress:
                yield self._progress
        finally:
            self._progress = None

    def training_news(self, line: dict[str, Any]) -> str:
        """Say in a few words how training goes: reward, entropy, gate."""
        names = {"reward": "reward", "entropy": "entropy", "maspo/gate_mean": "gate"}
        self.latest |= {
            short: line[key] for key, short in names.items() if line.get(key) is not None
        }
        return "  ".join(f"{short} {value:.3f}" for short, value in self.latest.items())

    def say(self, line: str, style: str | None = None) -> None:
        """Print a line as it is."""
        self.console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    def warn(self, sentence: str) -> None:
        """Print a warning."""
        self.console.print(f"warning: {sentence}", style="yellow", markup=False, soft_wrap=True)

    def results(self, summary: dict[str, Any]) -> None:
        """Print before and after with their intervals."""
        before, after = summary["before"], summary["after"]
        if before is None or after is None:
            self.console.print("\nnot evaluated", style="dim")
            return
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
        if rewards := mean_rewards(summary):
            table.add_row("mean reward", *map(mean_reward, rewards.values()), "")
        self.console.print()
        self.console.print(table)
        self.console.print(
            f"[dim]{judged_on(summary)}, 95% intervals over problems; trained "
            f"{summary['train_seconds']:.0f} s, {summary['total_seconds']:.0f} s in all[/dim]"
        )
        if (told := saved_model(summary)) is not None:
            self.console.print(told, highlight=False, markup=False, soft_wrap=True)
        for sentence in summary.get("warnings", ()):
            self.warn(sentence)
