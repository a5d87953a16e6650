"""The objectives by name: what makes one known everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from maspo.core.objective import Objective
from maspo.errors import InputError, unknown
from maspo.objectives.ablations import (
    MASPOCapped,
    MASPOHard,
    MASPONoMass,
    MASPONoRisk,
    MASPOSequence,
)
from maspo.objectives.aspo import ASPO
from maspo.objectives.bapo import BAPO, BAPOReleased
from maspo.objectives.calibrated import MASPOCalibrated
from maspo.objectives.cispo import CISPO
from maspo.objectives.covariance import ClipCov, KLCov
from maspo.objectives.dac import DAC, DACReleased
from maspo.objectives.dgpo import DGPO
from maspo.objectives.dppo import DPPOKL, DPPOTV
from maspo.objectives.drift import MASPODrift
from maspo.objectives.dro import DRO
from maspo.objectives.drpo import DRPO
from maspo.objectives.entropy_advantage import EntropyAdvantage
from maspo.objectives.fipo import FIPO
from maspo.objectives.gate_families import GateArctan, GateErf, GateSoftsign
from maspo.objectives.gmpo import GMPO
from maspo.objectives.gpg import GPG
from maspo.objectives.gppo import CEGPPO, GPPO, CEGPPOReleased
from maspo.objectives.grpo import GRPO, ClipHigher, DualClip
from maspo.objectives.gspo import GSPO, LUSPO, GSPOToken
from maspo.objectives.masked import CPPO, IPO, IcePop
from maspo.objectives.maspo import MASPO
from maspo.objectives.plugins import WithPlugins
from maspo.objectives.presets import RLOO, DrGRPO, ReinforcePP
from maspo.objectives.real import REAL
from maspo.objectives.sapo import SAPO, SAPOOneSided
from maspo.objectives.vespo import VESPO

BUILT_IN: dict[str, type[Objective]] = {
    "maspo": MASPO,
    "grpo": GRPO,
    "clip_higher": ClipHigher,
    "dual_clip": DualClip,
    "dr_grpo": DrGRPO,
    "rloo": RLOO,
    "reinforce_pp": ReinforcePP,
    "sapo": SAPO,
    "sapo_one_sided": SAPOOneSided,
    "gate_erf": GateErf,
    "gate_arctan": GateArctan,
    "gate_softsign": GateSoftsign,
    "maspo_sequence": MASPOSequence,
    "maspo_no_mass": MASPONoMass,
    "maspo_no_risk": MASPONoRisk,
    "maspo_hard": MASPOHard,
    "maspo_capped": MASPOCapped,
    "maspo_calibrated": MASPOCalibrated,
    "maspo_drift": MASPODrift,
    "dac": DAC,
    "dac_released": DACReleased,
    "entropy_advantage": EntropyAdvantage,
    "cispo": CISPO,
    "gppo": GPPO,
    "ce_gppo": CEGPPO,
    "ce_gppo_released": CEGPPOReleased,
    "aspo": ASPO,
    "dppo_tv": DPPOTV,
    "dppo_kl": DPPOKL,
    "dgpo": DGPO,
    "gpg": GPG,
    "dro": DRO,
    "gspo": GSPO,
    "gspo_token": GSPOToken,
    "luspo": LUSPO,
    "gmpo": GMPO,
    "vespo": VESPO,
    "bapo": BAPO,
    "bapo_released": BAPOReleased,
    "clip_cov": ClipCov,
    "kl_cov": KLCov,
    "ipo": IPO,
    "icepop": IcePop,
    "cppo": CPPO,
    "drpo": DRPO,
    "fipo": FIPO,
    "real": REAL,
}

OBJECTIVES = WithPlugins(BUILT_IN)
"""Every objective by name, those of installed plug-ins included."""


def make_objective(name: str, **hyperparameters: Any) -> Objective:
    """Make the objective called `name`; InputError for an unknown name or hyperparameter."""
    if not isinstance(name, str) or name not in OBJECTIVES:
        raise unknown("objective", str(name), OBJECTIVES)
    known = [f.name for f in fields(OBJECTIVES[name])]
    for key in hyperparameters:
        if key not in known:
            raise unknown(f"hyperparameter of {name}", key, known)
    return OBJECTIVES[name](**hyperparameters)


def as_objective(given: Objective | str) -> Objective:
    """Return `given`, or the objective with its defaults where it is a name; else raise InputError."""
    if isinstance(given, Objective):
        return given
    if isinstance(given, str):
        return make_objective(given)
    cure = "a name such as 'maspo', or a value such as maspo.MASPO(alpha=0.5)"
    if isinstance(given, type):
        raise InputError(f"objective is the class {given.__name__}; give {cure}")
    if isinstance(given, Mapping):
        raise InputError(
            f"objective must be {cure}; of settings maspo.make_objective(**settings) makes a value"
        )
    raise InputError(f"objective must be {cure}, not {given!r}")


def describe_objective(objective: Objective) -> dict[str, Any]:
    """Give name, title, the first sentence of the docstring, and all settings, as plain data."""
    names = [name for name, kind in OBJECTIVES.items() if kind is type(objective)]
    about = (type(objective).__doc__ or "").partition("\n")[0]
    named = {"name": names[0] if names else type(objective).__name__}
    return {**named, "title": objective.title, "about": about, **asdict(objective)}


__all__ = [
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
    "LUSPO",
    "MASPO",
    "OBJECTIVES",
    "REAL",
    "RLOO",
    "SAPO",
    "VESPO",
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
    "KLCov",
    "MASPOCalibrated",
    "MASPOCapped",
    "MASPODrift",
    "MASPOHard",
    "MASPONoMass",
    "MASPONoRisk",
    "MASPOSequence",
    "ReinforcePP",
    "SAPOOneSided",
    "make_objective",
]
