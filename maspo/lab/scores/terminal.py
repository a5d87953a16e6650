"""Scores of an evaluation in the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from maspo.evaluation import Estimate
from maspo.evaluation.score_file import Scores
from maspo.evaluation.scores import Differences
from maspo.evaluation.scoring import Change
from maspo.lab.formatting import mean_reward, percent, percent_with_interval, points_with_interval

_LISTED = 10  # changed verdicts that are named one by one


def tell(console: Console, *lines: str) -> None:
    """Print lines in the background, as they are."""
    for line in lines:
        console.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)


def settings_lines(
    record: Mapping[str, Any], problems: Mapping[str, Sequence[Any]], path: Path
) -> list[str]:
    """Say what an evaluation asks of which model, and where it is written."""
    sizes = ", ".join(f"{name} ({len(each)})" for name, each in problems.items())
    own = f"; chat template {record['chat_template']}" if record.get("chat_template") else ""
    return [
        f"{record['model']} on {sizes}: {record['samples']} samples a problem, temperature "
        f"{record['temperature']:g}, top-p {record['top_p']:g}, at most {record['max_tokens']} "
        f"tokens, seed {record['seed']}",
        f"engine {record['engine']}, {record['dtype']}, batches of {record['batch_size']}; "
        f"template {record['template']!r}{own}",
        f"everything is written to {path}; the same command with --out {path} continues it",
    ]


def show_scores(console: Console, scores: Scores) -> None:
    """Print what was reached on each benchmark, their unweighted mean, and what lies behind it."""
    benchmarks, mean = scores.benchmarks, scores.macro.metrics
    table = _table("benchmark", *mean)
    for name, each in benchmarks.items():
        table.add_row(name, *(_estimate(each.metrics[metric]) for metric in mean))
    if len(benchmarks) > 1:
        table.add_row("macro average", *map(_estimate, mean.values()))
    console.print()
    console.print(table)
    tell(console, "shares with 95% intervals over problems", "")
    rewarded = any(each.tells_rewards for each in benchmarks.values())
    columns = "problems", "samples", "mean tokens", "truncated", "no verdict"
    counts = _table("benchmark", *columns, *(["mean reward"] if rewarded else []))
    for name, each in benchmarks.items():
        cells = str(each.problems), str(each.problems * each.samples), f"{each.mean_tokens:.1f}"
        score = [mean_reward(each.score)] if rewarded else []
        counts.add_row(name, *cells, percent(each.truncated, 1), _odd(each.outcomes), *score)
    console.print(counts)


def _odd(outcomes: Mapping[str, int]) -> str:
    """Count the outcomes that are neither correct nor wrong."""
    odd = {name: count for name, count in outcomes.items() if name not in ("correct", "wrong")}
    return ", ".join(f"{count} {name}" for name, count in odd.items() if count) or "none"


def show_changes(console: Console, changes: Sequence[Change]) -> None:
    """Print which verdicts are other than before, if any are."""
    if not changes:
        return
    table = _table("benchmark", "verdict before", "now", "samples")
    kinds = Counter((one.place[0], one.before, one.after) for one in changes)
    for (benchmark, before, after), count in sorted(kinds.items()):
        table.add_row(benchmark, before, after, str(count))
    console.print(f"\n{len(changes)} verdicts changed:", highlight=False)
    console.print(table)
    named = [f"{problem}[{index}]" for _, problem, index in (one.place for one in changes)]
    more = f" and {len(named) - _LISTED} more" if len(named) > _LISTED else ""
    tell(console, ", ".join(named[:_LISTED]) + more)


def show_differences(console: Console, found: Differences, names: Iterable[str]) -> None:
    """Print the paired difference of two evaluations; `names` are the earlier and the later one."""
    metrics = list(found.macro)
    table = _table("difference", *metrics)
    rows = dict(found.benchmarks)
    if len(rows) > 1:
        rows["macro average"] = found.macro
    for name, each in rows.items():
        table.add_row(name, *(_difference(each[metric]) for metric in metrics))
    before, after = names
    title = f"\n{after} minus {before}, problem by problem:"
    console.print(title, highlight=False, markup=False, soft_wrap=True)
    console.print(table)
    tell(console, "percentage points with 95% intervals over problems")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _estimate(estimate: Estimate) -> str:
    return percent_with_interval(estimate.value, estimate.low, estimate.high)


def _difference(estimate: Estimate) -> str:
    return points_with_interval(estimate.value, estimate.low, estimate.high)
