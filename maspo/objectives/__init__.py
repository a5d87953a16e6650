"""The objectives by name: the only place that knows their names."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from maspo.core.objective import Objective
from maspo.errors import unknown
from maspo.objectives.grpo import GRPO, ClipHigher, DualClip
from maspo.objectives.maspo import MASPO
from maspo.objectives.sapo import SAPO

OBJECTIVES: dict[str, type[Objective]] = {
    "maspo": MASPO,
    "grpo": GRPO,
    "clip_higher": ClipHigher,
    "dual_clip": DualClip,
    "sapo": SAPO,
}


def make_objective(name: str, **hyperparameters: Any) -> Objective:
    """Make the objective called `name`; InputError for an unknown name or hyperparameter."""
    if name not in OBJECTIVES:
        raise unknown("objective", name, OBJECTIVES)
    known = [f.name for f in fields(OBJECTIVES[name])]
    for key in hyperparameters:
        if key not in known:
            raise unknown(f"hyperparameter of {name}", key, known)
    return OBJECTIVES[name](**hyperparameters)


def describe_objective(objective: Objective) -> dict[str, Any]:
    """Give name, title, the first sentence of the docstring, and all settings, as plain data."""
    names = [name for name, kind in OBJECTIVES.items() if kind is type(objective)]
    about = (type(objective).__doc__ or "").partition("\n")[0]
    named = {"name": names[0] if names else type(objective).__name__}
    return {**named, "title": objective.title, "about": about, **asdict(objective)}


__all__ = [
    "GRPO",
    "MASPO",
    "OBJECTIVES",
    "SAPO",
    "ClipHigher",
    "DualClip",
    "describe_objective",
    "make_objective",
]
