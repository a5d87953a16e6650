"""How often the 95% intervals over problems, and over runs, hold the true mean, by simulation.

    python scripts/coverage.py [--sets 2000] [--resamples 1000] [--out docs/coverage.jsonl]

Each set, which has a seed of its own, draws n problems whose accuracies are Beta(mean * c, (1 - mean) * c),
or all the mean itself where c is none, and k samples of each. Scores of runs are normal, and
uniform to show where Student's t is too narrow. Prints coverage, mean width and the share of intervals of
width 0 for each setting, writes them to a file for the manual, and ends with exit code 1 where coverage is
below 93%, of uniform scores excepted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from maspo.evaluation import interval

SETTINGS = [
    (n, mean, c, k)
    for n in (30, 40, 272)
    for mean in (0.01, 0.03, 0.1, 0.5, 0.9, 0.99)
    for c, k in ((1.0, 32), (0.3, 32), (None, 1))
]
MOVES = ("all move a little", "few move a lot", "from nothing")


def scores(rng: np.random.Generator, n: int, mean: float, c: float | None, k: int) -> np.ndarray:
    """Draw the scores of n problems."""
    p = np.full(n, mean) if c is None else rng.beta(mean * c, (1 - mean) * c, size=n)
    return rng.binomial(k, p) / k


def moved(rng: np.random.Generator, kind: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the accuracies of n problems before and after."""
    if kind == "from nothing":
        return np.zeros(n), rng.beta(0.005, 0.495, size=n)
    if kind == "few move a lot":
        before = rng.beta(0.1, 0.3, size=n)
        return before, np.where(rng.random(n) < 0.03, 1 - before, before)
    before = rng.random(n)
    return before, np.clip(before + rng.normal(0.05, 0.1, size=n), 0, 1)


def found(
    kind: str, setting: dict[str, Any], ends: list[tuple[float, float]], true: float
) -> dict[str, Any]:
    """Return a row: the setting, and what came of the intervals."""
    return {
        "of": kind,
        **setting,
        "coverage": round(float(np.mean([low <= true <= high for low, high in ends])), 6),
        "width": round(float(np.mean([high - low for low, high in ends])), 6),
        "width 0": round(float(np.mean([low == high for low, high in ends])), 6),
    }


def of_problems(number: int, sets: int, resamples: int) -> dict[str, Any]:
    """Simulate scores in the setting with this number."""
    n, mean, c, k = SETTINGS[number]
    ends = []
    for i in range(sets):
        one = scores(np.random.default_rng([number, i]), n, mean, c, k)
        ends.append(interval(list(one), resamples=resamples, seed=i))
    return found("problems", {"n": n, "mean": mean, "c": c or "none", "k": k}, ends, mean)


def of_differences(
    kind: str, n: int, k: int, true: float, sets: int, resamples: int
) -> dict[str, Any]:
    """Simulate differences of scores."""
    ends = []
    for i in range(sets):
        rng = np.random.default_rng([MOVES.index(kind), n, k, i])
        before, after = moved(rng, kind, n)
        gains = rng.binomial(k, after) / k - rng.binomial(k, before) / k
        ends.append(interval(list(gains), bounds=(-1.0, 1.0), resamples=resamples, seed=i))
    return found("differences", {"n": n, "difference": kind, "k": k}, ends, true)


def of_runs(kind: str, n: int, sets: int) -> dict[str, Any]:
    """Simulate scores of runs."""
    ends = []
    for i in range(sets):
        rng = np.random.default_rng([n, i, len(kind)])
        drawn = rng.normal(0.5, 0.03, n) if kind == "normal" else rng.uniform(0.4, 0.6, n)
        ends.append(interval(list(drawn), bounds=None))
    return found("runs", {"runs": n, "scores": kind}, ends, 0.5)


def rows(sets: int, resamples: int) -> Iterator[dict[str, Any]]:
    """Simulate every setting."""
    for number in range(len(SETTINGS)):
        yield of_problems(number, sets, resamples)
    for kind in MOVES:
        before, after = moved(np.random.default_rng(0), kind, 2_000_000)
        true = float((after - before).mean())
        for n, k in ((30, 1), (30, 32), (272, 1), (272, 32)):
            yield of_differences(kind, n, k, true, sets, resamples)
    for kind in ("normal", "uniform"):
        for n in (3, 5, 10):
            yield of_runs(kind, n, sets)


def main() -> int:
    """Simulate, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    lines, least = [], 1.0
    for row in rows(given.sets, given.resamples):
        lines.append(json.dumps(row))
        print(lines[-1], flush=True)
        if row.get("scores") != "uniform":
            least = min(least, row["coverage"])
    print(f"least coverage {least:.3f}")
    if given.out is not None:
        given.out.write_text("\n".join(lines) + "\n", "utf-8")
    return int(least < 0.93)


if __name__ == "__main__":
    sys.exit(main())
