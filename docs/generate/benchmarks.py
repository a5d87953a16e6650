"""Tables of `docs/benchmarks.jsonl`; the scripts in `benchmarks/` add to it with `--record`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from generate.markdown import table

ROWS = Path(__file__).resolve().parents[1] / "benchmarks.jsonl"
NAMES = {"embedded": "0.46M (embedded)"}


def rows(benchmark: str, gpu: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a benchmark on a GPU, or on none, the oldest first."""
    for line in ROWS.read_text("utf-8").splitlines():
        row = json.loads(line)
        if row["benchmark"] == benchmark and row.get("gpu") == gpu:
            yield row


def spread(three: Mapping[str, float], digits: int = 2) -> str:
    """Write a median with its range, which one pair has none of."""
    step = Decimal(10) ** -digits
    median, low, high = (
        Decimal(str(three[name])).quantize(step, ROUND_HALF_UP) for name in ("median", "min", "max")
    )
    return f"{median}, one pair" if three["min"] == three["max"] else f"{median} ({low} to {high})"


def updates_of_equal_lengths() -> list[dict[str, Any]]:
    """Return the newest row of each model and length where prompts are all there is to gain."""
    found = {
        (row["model"], row["prompt_tokens"], row["longest"]): row
        for row in rows("update")
        if row.get("share")
        and row.get("prompt_tokens")
        and row["lengths"] == "equal"
        and not row["dead"]
    }
    return [row for _, row in sorted(found.items(), key=_by_size)]


def shared_prompts() -> str:
    """Write what sharing prompts gains."""
    lines = []
    for row in updates_of_equal_lengths():
        model, prompt, completion = row["model"], row["prompt_tokens"], row["longest"]
        group = row["samples"]
        bound = group * (prompt + completion) / (prompt + group * completion)
        memory = f"{row['peak_mib']}, {row['other_peak_mib']}"
        shown = (
            NAMES.get(model, model),
            f"{prompt} / {completion}",
            spread(row["ratio"]),
            f"{bound:.2f}",
        )
        lines.append((*shown, memory, row["commit"][:7]))
    columns = (
        "model", "prompt / completion", "stock / ours", "G (P + R) / (P + G R)",
        "peak MiB, ours and stock", "commit",
    )  # fmt: skip
    return table(columns, lines)


def _by_size(item: tuple[tuple[str, int, int], Any]) -> tuple[float, int, int]:
    (model, prompt, completion), _ = item
    return (0.0 if model == "embedded" else float(model.rstrip("M")), prompt, completion)


def objectives(gpu: str | None = None) -> str:
    """Write how long an objective takes against another library's, from the newest row of each shape."""
    found = {(row["objective"], *row["shape"]): row for row in rows("objectives", gpu)}
    shapes = sorted({(rows, length) for _, rows, length in found})
    lines = []
    for name in dict.fromkeys(name for name, *_ in found):
        of_name = [found[name, *shape] for shape in shapes]
        for theirs in ("verl", "TRL"):
            if f"ours / {theirs}" in of_name[0]:
                ratios = (spread(row[f"ours / {theirs}"]) for row in of_name)
                lines.append((f"`{name}`", theirs, *ratios))
    return table(("objective", "theirs", *(str(list(shape)) for shape in shapes)), lines)


def verifier() -> str:
    """Write what the verifier gains, from the newest row of each set of rules."""
    found = {row["rules"]: row for row in rows("verify")}
    lines = []
    for rules, row in found.items():
        judged = row["problems"] * row["samples"] * row["rounds"]
        others = f"{row['different']} of {judged:,}, [by rule](verifier-differences.md)"
        ratios = (spread(row[name], 1) for name in ("ratio", "processor_ratio"))
        lines.append((f"`{rules}`", *ratios, others if row["different"] else "none"))
    return table(("rules", "times", "processor time", "other verdicts"), lines)


def decoding() -> str:
    """Write where the processor time of group decoding goes, from the newest row of each model."""
    found = {row["model"]: row["shares"] for row in rows("decode_profile")}
    models = sorted(found, key=lambda model: _by_size(((model, 0, 0), None)))
    parts = sorted({part for shares in found.values() for part in shares})
    return table(
        ("part", *(NAMES.get(model, model) for model in models)),
        [(part, *(f"{found[model].get(part, 0):.0%}" for model in models)) for part in parts],
    )
