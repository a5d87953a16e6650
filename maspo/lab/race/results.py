"""What a race found: runs, lines, groups, and the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

from maspo.evaluation.estimators import Estimate
from maspo.lab.formatting import running_mean
from maspo.lab.race import inference
from maspo.lab.race.folder import Result
from maspo.lab.race.inference import Conclusion, PairedComparison
from maspo.lab.race.plan import Condition, Plan
from maspo.lab.race.tolerance import Sweep
from maspo.lab.race.tuning import Tried


@dataclass(frozen=True, kw_only=True)
class RunCurves:
    """A run with what can be read off its metrics."""

    result: Result
    completions: tuple[int, ...]
    """Completions sampled when each rollout was over, `[rollouts]`."""
    curves: dict[str, tuple[float | None, ...]]
    """By key of the metrics, the mean over each rollout's updates, `[rollouts]`."""

    @classmethod
    def of(cls, result: Result, completions: int) -> RunCurves:
        """Gather the metrics of a run by rollout; a rollout is `completions` completions."""
        updates = result.trial.updates
        rollouts: dict[int, list[dict[str, Any]]] = {}
        for row in result.rows:
            rollouts.setdefault((row["step"] - 1) // updates, []).append(row)
        keys = {key for row in result.rows for key in row}
        return cls(
            result=result,
            completions=tuple((index + 1) * completions for index in rollouts),
            curves={key: tuple(_mean(rows, key) for rows in rollouts.values()) for key in keys},
        )

    @cached_property
    def rewards(self) -> list[tuple[int, float]]:
        """Pairs of completions and mean reward."""
        pairs = zip(self.completions, self.curves.get("reward", ()), strict=False)
        return [(at, reward) for at, reward in pairs if reward is not None]

    @property
    def area(self) -> float | None:
        """See `inference.area`; None without rewards."""
        return inference.area(*zip(*self.rewards, strict=True)) if self.rewards else None

    def reached(self, threshold: float) -> float | None:
        """See `inference.reached`, of the running mean."""
        if not self.rewards:
            return None
        at, rewards = zip(*self.rewards, strict=True)
        smooth = [value for value in running_mean(rewards) if value is not None]
        return inference.reached(at, smooth, threshold)

    @property
    def collapse(self) -> str | None:
        """See `inference.collapse`."""
        return inference.collapse(self.result.rows)


def _mean(rows: Sequence[dict[str, Any]], key: str) -> float | None:
    known = [row[key] for row in rows if row.get(key) is not None]
    return fmean(known) if known else None


@dataclass(frozen=True, kw_only=True)
class Line:
    """One objective under one condition."""

    label: str
    learning_rate: float | None
    """None where tuning left no rate."""
    runs: tuple[RunCurves, ...]
    """Those that finished."""
    failed: dict[int, str]
    """Reason by seed."""
    missing: tuple[int, ...]
    """Seeds that were not run."""
    score: Estimate | None
    iqm: Estimate | None
    area: Estimate | None
    reached: tuple[float | None, ...]
    """Completions to the threshold, by run."""
    comparison: PairedComparison | None
    """With the baseline; None for itself and without shared seeds."""
    conclusion: Conclusion | None

    @property
    def scores(self) -> dict[int, float]:
        """Score by seed."""
        return {
            r.result.trial.seed: r.result.score for r in self.runs if r.result.score is not None
        }

    @property
    def collapsed(self) -> dict[int, str]:
        """Reason by seed, of the finished runs."""
        found = {run.result.trial.seed: run.collapse for run in self.runs}
        return {seed: reason for seed, reason in found.items() if reason}

    def curve(self, key: str) -> tuple[list[int], list[float], list[float]] | None:
        """Give completions, mean over runs and standard error of a smoothed metric; None without it."""
        curves = [run.curves[key] for run in self.runs if key in run.curves]
        length = min(map(len, curves), default=0)
        smooth = [running_mean(curve[:length]) for curve in curves]
        at = [i for i in range(length) if all(curve[i] is not None for curve in smooth)]
        if not at:
            return None
        columns = [[float(curve[i]) for curve in smooth] for i in at]  # pyright: ignore[reportArgumentType]
        x = self.runs[0].completions
        errors = [stdev(c) / len(c) ** 0.5 if len(c) > 1 else 0.0 for c in columns]
        return [x[i] for i in at], [fmean(c) for c in columns], errors


@dataclass(frozen=True, kw_only=True)
class Group:
    """The race under one condition."""

    condition: Condition
    threshold: float | None
    """Reward of `Line.reached`; None where the baseline learned nothing."""
    start: float | None
    """Mean score before training."""
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        """Its condition in words."""
        return str(self.condition)

    @property
    def conclusions(self) -> list[Conclusion]:
        """What is said of each objective but the baseline."""
        return [line.conclusion for line in self.lines if line.conclusion]


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """A race, read."""

    plan: Plan
    metric: str
    """The score, such as avg@8."""
    groups: tuple[Group, ...]
    fairness: dict[str, tuple[str, ...]]
    """By run, the keys in which its recipe differs from the first of its seed and condition."""
    sweeps: tuple[Sweep, ...]
    """The scores at all learning rates, by condition; empty where there was one rate each."""
    tried: Tried
    """What tuning found; empty without it."""
    notes: tuple[str, ...]
    """What a reader must know before believing a figure."""

    @property
    def baseline(self) -> str:
        """Label of the baseline."""
        return self.plan.labels[0]

    def claims(self) -> list[Conclusion]:
        """Give the conclusions that claim something, or hint at it, group by group."""
        return [
            replace(one, text=f"{group.title}: {one.text}") if len(self.groups) > 1 else one
            for group in self.groups
            for one in (*group.conclusions, *self.of_tolerance(group))
            if one.finding != "none"
        ]

    def of_tolerance(self, group: Group) -> list[Conclusion]:
        """Give what is said of the tolerances under the condition of a group."""
        return [
            curve.conclusion
            for sweep in self.sweeps
            if sweep.condition == group.condition
            for curve in sweep.curves
            if curve.conclusion
        ]
