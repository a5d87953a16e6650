"""How numbers are written, everywhere: shares, differences, intervals, times, and series of them.

Shares and differences come as fractions of 1 and are written in percent and percentage points.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

MISSING = "–"
"""Stands where a number is not known."""

LABEL = 13
"""Characters that fit beside the end of a curve."""


def percent(share: float, digits: int = 0) -> str:
    """Write a share as a percentage."""
    return f"{100 * share:.{digits}f}%"


def points(difference: float, digits: int = 0) -> str:
    """Write a difference of shares in percentage points, with its sign and a true minus; zero has none."""
    rounded = round(100 * difference, digits)
    if not rounded:
        return f"{0:.{digits}f}"
    return f"{rounded:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def interval_text(
    low: float | None, high: float | None, digits: int = 1, *, signed: bool = False
) -> str:
    """Write an interval of shares, or of differences with `signed`; nothing where there is none."""
    if low is None or high is None:
        return ""
    if signed:
        return f"[{points(low, digits)}, {points(high, digits)}]"
    return f"[{100 * low:.{digits}f}, {100 * high:.{digits}f}]"


def percent_with_interval(
    share: float, low: float | None, high: float | None, digits: int = 1
) -> str:
    """Write a share in percent, with its interval where it has one."""
    return f"{percent(share, digits)} {interval_text(low, high, digits)}".rstrip()


def points_with_interval(
    difference: float, low: float | None, high: float | None, digits: int = 1
) -> str:
    """Write a difference in percentage points, with its interval where it has one."""
    return f"{points(difference, digits)} {interval_text(low, high, digits, signed=True)}".rstrip()


def mean_reward(value: float | None) -> str:
    """Write a mean of rewards, where there is one."""
    return MISSING if value is None else f"{value:.3f}"


def updates(count: int) -> str:
    """Write a number of updates per rollout."""
    return f"{count} update{'s' if count > 1 else ''} per rollout"


def rollouts_old(count: int) -> str:
    """Write how old the data of an update are."""
    return f"data {count} rollout{'s' if count > 1 else ''} old"


def duration(seconds: float) -> str:
    """Write a time so that a person can read it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def shortened(label: str) -> str:
    """Cut a label to what fits beside the end of a curve."""
    return label if len(label) <= LABEL else label[: LABEL - 1] + "…"


def significant(value: float | None, digits: int = 5) -> float | None:
    """Round to significant digits, which keeps the data of a page small; None stays None."""
    return None if value is None else float(f"{value:.{digits}g}")


def running_mean(values: Sequence[float | None]) -> list[float | None]:
    """Average a window of a twentieth of the known values around each; gaps stay gaps.

    Near an end the window stops at it and keeps its size, so that no point weighs more there.
    """
    known = [v for v in values if v is not None]
    size = max(1, len(known) // 20)
    starts = (min(max(i - size // 2, 0), len(known) - size) for i in range(len(known)))
    means = iter([fmean(known[start : start + size]) for start in starts])
    return [None if v is None else next(means) for v in values]
