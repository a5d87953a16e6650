"""How often the 95% intervals over problems, and over runs, hold the true mean, by simulation.

    python scripts/coverage.py [--sets 2000] [--resamples 1000]

Each set, which has a seed of its own, draws n problems whose accuracies are Beta(mean * c, (1 - mean) * c),
or all the mean itself where c is none, and k samples of each. Scores of runs are normal, and
uniform to show where Student's t is too narrow. Prints Markdown tables of coverage, mean width and the share
of intervals of width 0, and ends with exit code 1 where coverage is below 93%, of uniform scores excepted.
"""

from __future__ import annotations

import argparse
import sys

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


def line(cells: tuple[object, ...], ends: list[tuple[float, float]], true: float) -> float:
    """Print a row of the table; return the coverage."""
    held = float(np.mean([low <= true <= high for low, high in ends]))
    width = np.mean([high - low for low, high in ends])
    flat = np.mean([low == high for low, high in ends])
    print(f"| {' | '.join(map(str, cells))} | {held:.3f} | {width:.3f} | {flat:.2f} |", flush=True)
    return held


def main() -> int:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=1000)
    given = parser.parse_args()
    least = 1.0
    print("| n | mean | c | k | coverage | width | width 0 |\n|---|---|---|---|---|---|---|")
    for number, (n, mean, c, k) in enumerate(SETTINGS):
        ends = []
        for i in range(given.sets):
            one = scores(np.random.default_rng([number, i]), n, mean, c, k)
            ends.append(interval(list(one), resamples=given.resamples, seed=i))
        least = min(least, line((n, mean, c or "none", k), ends, mean))
    print("\n| n | difference | k | coverage | width | width 0 |\n|---|---|---|---|---|---|")
    for kind in MOVES:
        before, after = moved(np.random.default_rng(0), kind, 2_000_000)
        true = float((after - before).mean())
        for n, k in ((30, 1), (30, 32), (272, 1), (272, 32)):
            ends = []
            for i in range(given.sets):
                rng = np.random.default_rng([MOVES.index(kind), n, k, i])
                before, after = moved(rng, kind, n)
                gains = rng.binomial(k, after) / k - rng.binomial(k, before) / k
                ends.append(
                    interval(list(gains), bounds=(-1.0, 1.0), resamples=given.resamples, seed=i)
                )
            least = min(least, line((n, kind, k), ends, true))
    print("\n| runs | scores | coverage | width | width 0 |\n|---|---|---|---|---|")
    for kind in ("normal", "uniform"):
        for n in (3, 5, 10):
            ends = []
            for i in range(given.sets):
                rng = np.random.default_rng([n, i, len(kind)])
                drawn = rng.normal(0.5, 0.03, n) if kind == "normal" else rng.uniform(0.4, 0.6, n)
                ends.append(interval(list(drawn), bounds=None))
            held = line((n, kind), ends, 0.5)
            least = min(least, held) if kind == "normal" else least
    print(f"\nleast coverage {least:.3f}")
    return int(least < 0.93)


if __name__ == "__main__":
    sys.exit(main())
