"""What a comparison adds in words: how likely a run is better, and what its scores vary with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from maspo.evaluation import decide, spread
from maspo.lab.scores.load import LabelledScores


def chances(base: LabelledScores, run: LabelledScores, names: Sequence[str]) -> Iterable[str]:
    """Say how likely a run is better than the first one, on benchmarks that asked both the same."""
    told = []
    for name in names:
        before, after = (one.benchmarks[name].correct for one in (base, run))
        ids = list(before)
        shares = [[correct[i] / run.samples for i in ids] for correct in (before, after)]
        found = decide(*shares)
        told.append(f"{name} {found.better:.2f} ({found.better_by:.2f} by a point or more)")
    if told:
        yield (
            f"{run.label} has a higher avg@{run.samples} than {base.label} with probability: "
            f"{', '.join(told)}."
        )


def sources(run: LabelledScores) -> Iterable[str]:
    """Say how much of the variance of a run's avg@k comes from its problems and from its samples."""
    told = []
    for name, scores in run.benchmarks.items():
        if run.samples < 2 or scores.problems < 2:
            continue
        found = spread([list(scores.correct.values())], run.samples)
        whole = found.problems + found.samples
        if whole:
            told.append(
                f"{name} {100 * found.problems / whole:.0f}% / {100 * found.samples / whole:.0f}%"
            )
    if told:
        yield (
            f"The variance of {run.label}'s avg@{run.samples} comes from problems / samples: "
            f"{', '.join(told)}; training seeds are seen in races alone."
        )
