"""MASPO and the policy objectives it is compared with, for reinforcement learning of language models.

An independent implementation of MASPO (arXiv:2602.17550). The names below are loaded at first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maspo.core.objective import Objective
    from maspo.core.reduction import REDUCTIONS
    from maspo.errors import InputError
    from maspo.loss import PolicyLoss, policy_loss
    from maspo.objectives import (
        GRPO,
        MASPO,
        OBJECTIVES,
        SAPO,
        ClipHigher,
        DualClip,
        make_objective,
    )

__version__ = "0.1.0"

_HOMES = {
    "maspo.errors": ("InputError",),
    "maspo.core.objective": ("Objective",),
    "maspo.core.reduction": ("REDUCTIONS",),
    "maspo.loss": ("PolicyLoss", "policy_loss"),
    "maspo.objectives": (
        "GRPO",
        "MASPO",
        "OBJECTIVES",
        "SAPO",
        "ClipHigher",
        "DualClip",
        "make_objective",
    ),
}

__all__ = [
    "GRPO",
    "MASPO",
    "OBJECTIVES",
    "REDUCTIONS",
    "SAPO",
    "ClipHigher",
    "DualClip",
    "InputError",
    "Objective",
    "PolicyLoss",
    "make_objective",
    "policy_loss",
]


def __getattr__(name: str) -> Any:
    """Import the module that holds a public name (PEP 562), so that worker processes stay light."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'maspo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
