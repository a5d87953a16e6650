"""The metrics of a run."""

from __future__ import annotations

import inspect

from generate.markdown import table


def page() -> str:
    """List what `metrics.jsonl` holds: unit, meaning, what is normal."""
    from maspo.core.diagnostics import gate_metrics
    from maspo.lab.run.metrics import RUN_METRICS

    text = (
        "# Metrics\n\n`metrics.jsonl` of a run holds one line a step. TRL's names stay TRL's; ours are "
        "under `maspo/`. A run of verl has the same names, and verl's for all else; in verl's own logs "
        "ours are under `actor/maspo/`. What is normal is what healthy runs of ours showed, on small "
        "models: a range to look at, not a limit.\n"
    )
    columns = "metric", "unit", "meaning", "what is normal"
    for section, metrics in RUN_METRICS.items():
        rows = [(f"`{one.name}`", one.unit, one.meaning, one.normal) for one in metrics]
        text += f"\n## {section}\n\n{table(columns, rows)}"
    about = inspect.cleandoc(gate_metrics.__doc__ or "").partition("\n\n")[2]
    return text + f"\n## How the gate is measured\n\n{about}\n"
