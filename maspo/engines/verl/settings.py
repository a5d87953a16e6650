# pyright: reportMissingImports=false
"""Hyperparameters of an objective inside verl's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from verl.workers.config import PolicyLossConfig

from maspo.core.objective import Objective
from maspo.engines.verl.limits import MICRO_BATCH
from maspo.engines.verl.names import RELEASE_MODE, RELEASE_PREFIX, estimator_settings
from maspo.engines.verl.plugin import PREFIX, losses
from maspo.errors import InputError, unknown
from maspo.objectives import MASPO, make_objective


@dataclass
class MASPOPolicyLossConfig(PolicyLossConfig):
    """verl's PolicyLossConfig, plus the objective; verl makes it before it starts Ray.

    Give `objective`, or, for commands written for the authors' release, `ratio_clip`. `loss_mode`
    follows from it; set otherwise, it must say the same. Raises InputError for anything unknown.
    """

    objective: dict[str, Any] = field(default_factory=dict)
    """`name`, one of `maspo objectives`, and its hyperparameters."""
    ratio_clip: dict[str, Any] = field(default_factory=dict)
    """The release's names: `ratio_mode: maspo`, `maspo_sigma_base`, `maspo_alpha`, and so on."""
    advantages: str | None = None
    """The estimator that `algorithm` is set to, by its name in `maspo.ADVANTAGES`. A loss cannot see that
    section, so for a method with an estimator of its own (Dr. GRPO, RLOO, ...) it has to be said."""
    reduction: str | None = None
    """The value of `actor.loss_agg_mode`, for a method whose own is another and that is to have verl's
    default."""
    coupling: str | None = None
    """`micro_batch`: an objective that couples the batch couples the micro-batches of all processes, as the
    authors' code of BAPO does; without it, it must see the whole update at once."""
    made: Any = None
    """The objective these settings make; not to be given."""

    def __post_init__(self) -> None:
        """Make the objective."""
        if self.made is not None:
            raise InputError("policy_loss.made is made from policy_loss.objective; set that")
        if self.advantages is not None:
            estimator_settings(self.advantages)
        if self.coupling not in (None, MICRO_BATCH):
            raise unknown("policy_loss.coupling", str(self.coupling), [MICRO_BATCH])
        name, made = self._objective()
        object.__setattr__(self, "made", made)  # verl's settings are frozen
        object.__setattr__(self, "loss_mode", PREFIX + name)

    def _objective(self) -> tuple[str, Objective]:
        if self.ratio_clip and self.objective:
            raise InputError("give only one of policy_loss.objective and policy_loss.ratio_clip")
        given = from_release(self.ratio_clip) if self.ratio_clip else dict(self.objective)
        named, chosen = given.pop("name", None), self._chosen()
        name = chosen if named is None else named
        if name is None:
            raise InputError("say which objective: actor.policy_loss.objective.name=maspo")
        if named is not None and chosen is not None and named != chosen:
            raise InputError(
                f"policy_loss.loss_mode={self.loss_mode} contradicts the objective {named!r}; "
                "leave loss_mode out"
            )
        return name, make_objective(name, **given)

    def _chosen(self) -> str | None:
        """Give the objective that `loss_mode` names, None where it is verl's default."""
        default = next(f.default for f in fields(PolicyLossConfig) if f.name == "loss_mode")
        ours = losses()
        if self.loss_mode == default:
            return None
        if self.loss_mode in ours:
            return ours[self.loss_mode]
        if PREFIX + self.loss_mode in ours:
            raise InputError(
                f"loss_mode={self.loss_mode} is verl's own loss; ours is {PREFIX}{self.loss_mode}"
            )
        raise unknown("loss_mode", self.loss_mode, ours)


def from_release(ratio_clip: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the settings of the authors' release into those of `maspo.MASPO`."""
    given = dict(ratio_clip)
    mode = given.pop("ratio_mode", None)
    if mode != RELEASE_MODE:
        raise InputError(
            f"policy_loss.ratio_clip.ratio_mode must be {RELEASE_MODE}, not {mode!r}; for verl's own "
            "losses leave policy_loss._target_ as it is"
        )
    known = {RELEASE_PREFIX + f.name: f.name for f in fields(MASPO)}
    for key in given:
        if key not in known:
            raise unknown("setting of policy_loss.ratio_clip", key, known)
    return {"name": "maspo", **{known[key]: value for key, value in given.items()}}
