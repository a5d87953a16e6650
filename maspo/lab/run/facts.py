"""The facts of a run in a few words each, so that two reports can be told apart at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maspo.lab.formatting import duration
from maspo.recipes import Recipe


def facts(recipe: Recipe, summary: Mapping[str, Any]) -> dict[str, str]:
    """Return the facts of a run by their names; of the objective only what differs from its defaults."""
    rollout, training, named = recipe.rollout, recipe.training, recipe.model
    over = f" over {named.quantization}" if named.quantization else ""
    found = {
        "model": named.source + (f", LoRA{over}" if named.lora else ""),
        "parameters": f"{summary['parameters']:,}" if "parameters" in summary else "",
        "data": recipe.data.source,
        "objective": str(recipe.make_objective()),
        "learning rate": f"{training.learning_rate:g} {training.schedule}",
        "batch": f"{rollout.prompts} prompts x {rollout.samples} samples, "
        f"{training.updates_per_rollout} updates",
        "rollouts": str(training.rollouts),
        "KL": f"{training.kl:g}" if training.kl else "",
        "seed": str(recipe.seed),
        "reward": "; ".join(spec.describe() for spec in recipe.reward.specs),
        "training": _seconds(summary, "train_seconds"),
        "with evaluation": _seconds(summary, "total_seconds"),
    }
    return {name: value for name, value in found.items() if value}


def _seconds(summary: Mapping[str, Any], name: str) -> str:
    return duration(summary[name]) if summary.get(name) else ""
