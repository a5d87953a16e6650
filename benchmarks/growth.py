"""Time per live token and peak memory of the update phase as it grows, ours and stock TRL.

    python benchmarks/growth.py [--record] [--plot docs/growth.png]

One thing grows at a time: completions, their length, completions of a prompt, vocabulary. Micro-batches
have 16 rows throughout, half of the groups are dead and lengths are lognormal, as in `update.py`. Each
point is a process of its own for either trainer, so that its peak memory is its own: the most
that was resident, less what was before the first rollout.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from record import record

AXES: dict[str, tuple[int, ...]] = {
    "completions": (64, 128, 256, 512, 1024),
    "longest": (64, 128, 256, 512),
    "samples": (4, 8, 16, 32),
    "vocabulary": (263, 4096, 16384),
}
BASE = {"completions": 128, "longest": 128, "samples": 8, "vocabulary": 263}
LABELS = {
    "completions": "Completions of a rollout",
    "longest": "Longest completion (tokens)",
    "samples": "Completions of a prompt",
    "vocabulary": "Vocabulary",
}
ROWS, UPDATES = 16, 4


def peak() -> float:
    """Give the most memory that this process has had resident, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(ours: bool, repeats: int, point: dict[str, int]) -> dict[str, float]:
    """Run the updates of some rollouts in this process."""
    import warnings

    from update import Update

    warnings.simplefilter("ignore")
    options = argparse.Namespace(
        model="embedded", prompts=point["completions"] // point["samples"],
        samples=point["samples"], updates=UPDATES,
        accumulation=point["completions"] // ROWS // UPDATES, longest=point["longest"], dead=0.5,
        lengths="lognormal", objective="maspo", prompt_tokens=None, checkpointing=True, share=True,
        dtype="float32",
    )  # fmt: skip
    update = Update(options, ours=ours, vocabulary=point["vocabulary"])
    before = peak()
    update(0)
    spent = [1e6 * update(repeat) / update.live_tokens for repeat in range(1, repeats + 1)]
    return {"us_per_live_token": statistics.median(spent), "peak_mib": peak() - before}


def in_a_process(side: str, repeats: int, point: dict[str, int]) -> dict[str, float]:
    """Measure a point in a process of its own."""
    words = [sys.executable, __file__, "--one", side, "--repeats", str(repeats), json.dumps(point)]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw time and memory over each axis."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    figure = Figure(figsize=(11, 5.2), dpi=160, layout="constrained", facecolor="white")
    panels = figure.subplots(2, len(AXES), sharey="row")
    looks = {"ours": ("maspo", "#0072B2", "-"), "stock": ("stock TRL", "#D55E00", "--")}
    for column, axis in enumerate(AXES):
        found = [row for row in rows if row["axis"] == axis]
        for line, (key, words) in enumerate(
            (("us_per_live_token", "µs per live token"), ("peak_mib", "Peak memory (MiB)"))
        ):
            axes = panels[line][column]
            for side, (label, color, style) in looks.items():
                at, values = [r["value"] for r in found], [r[side][key] for r in found]
                axes.plot(at, values, style, color=color, marker="o", ms=4, label=label)
            axes.set(xscale="log", yscale="log")
            axes.set_xticks(at, [f"{value:,}" for value in at])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(color="#E6E6E6", linewidth=0.8)
            if line:
                axes.set_xlabel(LABELS[axis])
            if not column:
                axes.set_ylabel(words)
    panels[0][0].legend(frameon=False)
    figure.savefig(path)


def main() -> None:
    """Measure, print, and record with `--record`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--axis", choices=tuple(AXES), action="append")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--one", choices=("ours", "stock"), help=argparse.SUPPRESS)
    parser.add_argument("point", nargs="?", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one == "ours", options.repeats, options.point)))
        return
    rows = []
    for axis in options.axis or AXES:
        for value in AXES[axis]:
            point = BASE | {axis: value}
            found = {side: in_a_process(side, options.repeats, point) for side in ("ours", "stock")}
            rows.append({"axis": axis, "value": value, **found})
            print(json.dumps(rows[-1]), flush=True)
            if options.record:
                record("growth", {**point, **rows[-1]})
    if options.plot:
        draw(rows, options.plot)


if __name__ == "__main__":
    main()
