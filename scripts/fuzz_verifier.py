"""Send random answers through the verifier's pool: none may be lost, none may hang, memory stays flat.

    python scripts/fuzz_verifier.py [--answers 10000] [--seed 0]

Answers are spliced together from pieces of LaTeX, numbers, text and control characters; two in a hundred
hold a tower of powers, which no check survives. Prints outcomes and, after every tenth of them, the memory
of the pool, and ends with exit code 1 where an answer has no verdict, one took longer than its limit
allows, or the pool grew.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter

import psutil

from maspo.rewards import Verifier

LATEX = r"\frac{ \sqrt{ \left( \right) \le \pi \infty \% \text{ \in \cup \times \sin \log \sum_{k=1}^{n} \int"
PLAIN = r"{ } ( ) [ ] ^ _ + - * / = < , ; $ & \\ ! x y e i 1 2 17 0.5 1e9 3/4 10^{12} answer"
OTHERS = r"\begin{pmatrix}", r"\end{pmatrix}", " ", "\n", "\x00", "\u202e", "𝟙"
PIECES = (*LATEX.split(), *PLAIN.split(), *OTHERS)
TOWER = "9^{9^{9^{9}}}+"
LIMIT, WORKERS, BATCH = 2.0, 2, 100


def answers(count: int, dice: random.Random) -> list[tuple[str, str]]:
    """Draw completions, each with its reference answer."""
    drawn = []
    for number in range(count):
        body = "".join(dice.choices(PIECES, k=dice.randint(1, 40)))
        if dice.random() < 0.02:
            body = TOWER + body
        # The number makes each its own problem, so that none is answered from another's verdict.
        text = dice.choice((r"\boxed{%s}", "The answer is $%s$.", "%s", r"\boxed{%s")) % body
        drawn.append(
            (f"{number}: {text}", dice.choice(("17", r"\frac{3}{4}", "x+1", "(1,2)", body)))
        )
    return drawn


def memory() -> float:
    """Give the resident memory of the pool's processes, in MiB."""
    total = 0
    for child in psutil.Process().children(recursive=True):
        try:
            total += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--answers", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pairs = answers(options.answers, random.Random(options.seed))
    outcomes: Counter[str] = Counter()
    longest, sizes, began = 0.0, [], time.perf_counter()
    with Verifier(workers=WORKERS, time_limit=LIMIT) as verifier:
        for start in range(0, len(pairs), BATCH):
            some, asked = pairs[start : start + BATCH], time.perf_counter()
            verdicts = verifier.verify([a for a, _ in some], [gold for _, gold in some])
            longest = max(longest, time.perf_counter() - asked)
            outcomes.update(verdict.outcome.value for verdict in verdicts)
            if (start + BATCH) % max(BATCH, len(pairs) // 10) == 0:
                sizes.append(round(memory()))
                print(f"{sum(outcomes.values())} judged, pool {sizes[-1]} MiB", flush=True)
    lost = len(pairs) - sum(outcomes.values())
    # Even a batch in which every answer overran its limit would be done by then.
    bound = BATCH * (LIMIT + 1) / WORKERS + 30
    half = len(sizes) // 2
    grown = max(sizes[half:]) / max(sizes[:half]) if half else 1.0
    row = {
        "answers": len(pairs), "seed": options.seed, "outcomes": dict(outcomes), "lost": lost,
        "longest_batch_s": round(longest, 1), "pool_mib": sizes,
        "seconds": round(time.perf_counter() - began),
    }  # fmt: skip
    print(json.dumps(row))
    return int(bool(lost) or longest > bound or grown > 1.25)


if __name__ == "__main__":
    sys.exit(main())
