"""What the benchmarks share: ours and stock in alternation, and rows of a results file."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from maspo.lab.provenance import commit, versions

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.jsonl"


def pairs(
    ours: Callable[[int], float], stock: Callable[[int], float], repeats: int
) -> list[tuple[float, float]]:
    """Call both by turns, each with the number of the repeat, after one call to warm up."""
    ours(0), stock(0)
    rates = []
    for repeat in range(1, repeats + 1):
        # Who is first alternates too, so that a machine that slows down favours nobody.
        order = (ours, stock) if repeat % 2 else (stock, ours)
        found = {candidate: candidate(repeat) for candidate in order}
        rates.append((found[ours], found[stock]))
    return rates


def now() -> float:
    """Return the time in seconds, once the device has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Give the median, the smallest and the largest value."""
    three = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, digits) for name, value in three.items()}


def matrix_rate(dtype: torch.dtype, device: torch.device, size: int = 1024) -> float:
    """Measure multiplications and additions per second of a square matrix product, the best of 5."""
    left, right = torch.rand(2, size, size, device=device).to(dtype)
    best = float("inf")
    for _ in range(6):
        started = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def record(benchmark: str, row: Mapping[str, Any], path: Path = RESULTS) -> None:
    """Append one row with commit, versions, processor and threads."""
    machine = {
        "benchmark": benchmark,
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "versions": versions(),
        "cpu": _processor(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
    with path.open("a") as file:
        file.write(json.dumps({**machine, **row}) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
