"""How a model is judged: samples, and estimates made of their counts."""

from maspo.evaluation.estimators import (
    Decision,
    Estimate,
    Spread,
    avg_at_k,
    bootstrap_interval,
    decide,
    interval,
    maj_at_k,
    mean_estimates,
    paired_difference,
    pass_at_k,
    spread,
)

__all__ = [
    "Decision",
    "Estimate",
    "Spread",
    "avg_at_k",
    "bootstrap_interval",
    "decide",
    "interval",
    "maj_at_k",
    "mean_estimates",
    "paired_difference",
    "pass_at_k",
    "spread",
]
