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


def sources(runs: Sequence[LabelledScores], names: Sequence[str]) -> Iterable[str]:
    """Say what the variance of avg@k comes from: problems, samples and, of several runs, their seeds.

    Args:
        runs: one, or several of one recipe that differ in their seed.
        names: benchmarks that asked all of them the same problems, with as many samples.
    """
    told, samples = [], runs[0].samples
    for name in names:
        ids = list(runs[0].benchmarks[name].correct)
        if samples < 2 or len(ids) < 2:
            continue
        found = spread([[run.benchmarks[name].correct[i] for i in ids] for run in runs], samples)
        parts = [found.problems, found.samples, *([found.seeds] if len(runs) > 1 else [])]
        if sum(parts):
            shares = " / ".join(f"{100 * part / sum(parts):.0f}%" for part in parts)
            told.append(f"{name} {shares}")
    if not told:
        return
    if len(runs) > 1:
        labels = ", ".join(run.label for run in runs)
        yield (
            f"The variance of the mean avg@{samples} of {labels}, one recipe with {len(runs)} seeds, "
            f"comes from problems / samples / training seeds: {', '.join(told)}."
        )
    else:
        yield (
            f"The variance of {runs[0].label}'s avg@{samples} comes from problems / samples: "
            f"{', '.join(told)}; runs of the same recipe with other seeds would show that of training."
        )
