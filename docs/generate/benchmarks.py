"""Tables of `docs/benchmarks.jsonl`; the scripts in `benchmarks/` add to it with `--record`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from generate.markdown import table

ROWS = Path(__file__).resolve().parents[1] / "benchmarks.jsonl"
NAMES = {"embedded": "0.46M (embedded)"}


def rows(benchmark: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a benchmark, the oldest first."""
    for line in ROWS.read_text("utf-8").splitlines():
        row = json.loads(line)
        if row["benchmark"] == benchmark:
            yield row


def spread(three: Mapping[str, float]) -> str:
    """Write a median with its range, which one pair has none of."""
    if three["min"] == three["max"]:
        return "{median:.2f}, one pair".format(**three)
    return "{median:.2f} ({min:.2f} to {max:.2f})".format(**three)


def shared_prompts() -> str:
    """Write what sharing prompts gains, from the newest row of each model and length."""
    found = {
        (row["model"], row["prompt_tokens"], row["longest"]): row
        for row in rows("update")
        if row.get("share")
        and row.get("prompt_tokens")
        and row["lengths"] == "equal"
        and not row["dead"]
    }
    lines = []
    for (model, prompt, completion), row in sorted(found.items(), key=_by_size):
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


def decoding() -> str:
    """Write where the processor time of group decoding goes, from the newest row of each model."""
    found = {row["model"]: row["shares"] for row in rows("decode_profile")}
    models = sorted(found, key=lambda model: _by_size(((model, 0, 0), None)))
    parts = sorted({part for shares in found.values() for part in shares})
    return table(
        ("part", *(NAMES.get(model, model) for model in models)),
        [(part, *(f"{found[model].get(part, 0):.0%}" for model in models)) for part in parts],
    )
