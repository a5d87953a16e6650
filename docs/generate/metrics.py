"""The metrics of a run."""

from __future__ import annotations

import inspect

from generate.markdown import table


def page() -> str:
    """List what `metrics.jsonl` holds."""
    from maspo.core.diagnostics import gate_metrics
    from maspo.lab.run.charts import CHARTS

    rows = [
        (f"`{series.metric}`", chart.axis, chart.note, chart.group)
        for chart in CHARTS
        for series in chart.series
    ]
    about = inspect.cleandoc(gate_metrics.__doc__ or "")
    return (
        "# Metrics\n\n`metrics.jsonl` of a run holds one line a step. Names of TRL stay TRL's; "
        "ours are under `maspo/`. With verl they are under `actor/maspo/`.\n\n## What the report shows\n\n"
        + table(("metric", "what", "meaning", "group"), rows)
        + f"\n## The gate\n\n{about}\n\nWhat is normal: with the first update of a rollout "
        "`maspo/ratio_mean` is 1 and `maspo/gate_mean` is 1. With later updates the ratios spread. "
        "In [our studies](../studies/README.md) the gate leaves more than 99 % "
        "of the weight at a tuned learning rate.\n\n"
        "## Others\n\n"
        + table(
            ("metric", "meaning"),
            [
                ("`outcome/correct`, `.../wrong`, `.../unparsable`, `.../timeout`, `.../error`",
                 "share of the rollout's completions with that verdict"),
                ("`maspo/update_skipped`", "1 where an update had no finite gradient and was left out"),
                ("`maspo/kl`", "the KL term, mean over tokens, without its weight"),
                ("`sampling/...`", "how far the probabilities of vLLM and of the trainer are apart; TRL's"),
            ],
        )
    )  # fmt: skip
