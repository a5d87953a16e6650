"""What a run came to, as summary.json holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maspo import files
from maspo.lab.run.evaluations import summary_of
from maspo.lab.run.folder import RunFolder
from maspo.lab.run.learning import complaints
from maspo.objectives import describe_objective
from maspo.recipes import Recipe


def summarized(folder: RunFolder, recipe: Recipe, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run was, what was `found`, and the figures of its evaluations."""
    summary = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "model": recipe.model.source,
        "objective": describe_objective(recipe.make_objective()),
        "advantages": recipe.advantages,
        "reduction": recipe.reduction,
        "rewards": [spec.describe() for spec in recipe.reward.specs],
        "updates_per_rollout": recipe.training.updates_per_rollout,
        **found,
        **summary_of(folder.path, recipe),
    }
    summary["warnings"] = complaints(
        summary,
        files.read_lines(folder.path / "metrics.jsonl"),
        limit=recipe.rollout.max_completion_tokens,
        rate=recipe.training.learning_rate,
    )
    return summary
