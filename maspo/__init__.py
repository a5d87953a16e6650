"""MASPO and the policy objectives it is compared with, for reinforcement learning of language models.

An independent implementation of MASPO (arXiv:2602.17550). The names below are loaded at first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maspo.core.advantages import ADVANTAGES, AdvantageEstimator, estimate_advantages
    from maspo.core.history import RewardHistory
    from maspo.core.kl import KL
    from maspo.core.objective import Objective
    from maspo.core.reduction import REDUCTIONS
    from maspo.core.rewards import live_groups, overlong_penalty
    from maspo.core.rollout import ROLLOUT_MODES, rollout_weights
    from maspo.errors import InputError
    from maspo.loss import PolicyLoss, policy_loss
    from maspo.objectives import *

__version__ = "0.1.0"

_HOMES = {  # of the names that are not from maspo.objectives
    "maspo.errors": ("InputError",),
    "maspo.core.advantages": ("ADVANTAGES", "AdvantageEstimator", "estimate_advantages"),
    "maspo.core.history": ("RewardHistory",),
    "maspo.core.kl": ("KL",),
    "maspo.core.objective": ("Objective",),
    "maspo.core.reduction": ("REDUCTIONS",),
    "maspo.core.rewards": ("live_groups", "overlong_penalty"),
    "maspo.core.rollout": ("ROLLOUT_MODES", "rollout_weights"),
    "maspo.loss": ("PolicyLoss", "policy_loss"),
}

__all__ = [
    "ADVANTAGES",
    "ASPO",
    "BAPO",
    "CEGPPO",
    "CISPO",
    "CPPO",
    "DAC",
    "DGPO",
    "DPPOKL",
    "DPPOTV",
    "DRO",
    "DRPO",
    "FIPO",
    "GMPO",
    "GPG",
    "GPPO",
    "GRPO",
    "GSPO",
    "IPO",
    "KL",
    "LUSPO",
    "MASPO",
    "OBJECTIVES",
    "REAL",
    "REDUCTIONS",
    "RLOO",
    "ROLLOUT_MODES",
    "SAPO",
    "VESPO",
    "AdvantageEstimator",
    "BAPOReleased",
    "CEGPPOReleased",
    "ClipCov",
    "ClipHigher",
    "DACReleased",
    "DrGRPO",
    "DualClip",
    "EntropyAdvantage",
    "GSPOToken",
    "GateArctan",
    "GateErf",
    "GateSoftsign",
    "IcePop",
    "InputError",
    "KLCov",
    "MASPOCalibrated",
    "MASPOCapped",
    "MASPODrift",
    "MASPOHard",
    "MASPONoMass",
    "MASPONoRisk",
    "MASPOSequence",
    "Objective",
    "PolicyLoss",
    "ReinforcePP",
    "RewardHistory",
    "SAPOOneSided",
    "estimate_advantages",
    "live_groups",
    "make_objective",
    "overlong_penalty",
    "policy_loss",
    "rollout_weights",
]


def __getattr__(name: str) -> Any:
    """Import the module that holds a public name (PEP 562), so that worker processes stay light."""
    if name not in __all__:
        raise AttributeError(f"module 'maspo' has no attribute {name!r}")
    homes = (module for module, names in _HOMES.items() if name in names)
    return getattr(import_module(next(homes, "maspo.objectives")), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
