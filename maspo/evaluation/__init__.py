"""How a model is judged: samples, and estimates made of their counts."""

from maspo.evaluation.estimators import (
    Estimate,
    avg_at_k,
    bootstrap_interval,
    maj_at_k,
    mean_estimates,
    paired_difference,
    pass_at_k,
)

__all__ = [
    "Estimate",
    "avg_at_k",
    "bootstrap_interval",
    "maj_at_k",
    "mean_estimates",
    "paired_difference",
    "pass_at_k",
]
