# pyright: reportMissingImports=false
"""Any objective in ms-swift, by a plug-in: `swift rlhf --rlhf_type grpo --external_plugins plugin.py`.

from maspo import MASPO                                         # plugin.py
from maspo.engines.ms_swift import use

use(MASPO(alpha=0.5))
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from typing import Any

from maspo.core.objective import Objective
from maspo.engines.doors import Door
from maspo.engines.fed import TRL_LOSS_SETTINGS, check_fed, feed, open_clip
from maspo.engines.host import objective_of

DOOR = Door(
    title="ms-swift",
    package="ms-swift",
    module="swift",
    place="--external_plugins plugin.py, which calls maspo.engines.ms_swift.use(objective)",
    tried="4.6.0",
    hands=frozenset({"entropies"}),
)

OWNED_BY_THE_OBJECTIVE = TRL_LOSS_SETTINGS | {"tau_pos": 1.0, "tau_neg": 1.05}
"""Settings of its own losses and their defaults."""

_chosen: list[Objective] = []
"""The objective that was given to `use`."""


def use(objective: Objective | str | Mapping[str, Any]) -> None:
    """Put a trainer that optimises `objective` in the place of ms-swift's GRPO trainer."""
    with DOOR.entered():
        from swift.trainers import TrainerFactory

    made = objective_of(objective)
    DOOR.check(made)
    _chosen[:] = [made]
    TrainerFactory.TRAINER_MAPPING["grpo"] = f"{__name__}.MASPOTrainer"


@cache
def _trainer() -> type:
    with DOOR.entered():
        from swift.rlhf_trainers import GRPOTrainer

    class MASPOTrainer(GRPOTrainer):
        """ms-swift's trainer with the objective in the place of its surrogate."""

        _running: Any = None

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if self.use_liger_loss:
                raise DOOR.error("use_liger_kernel has a loss of its own; leave it out")
            self.objective = _chosen[0]
            open_clip(self, self.args, OWNED_BY_THE_OBJECTIVE, door=DOOR)
            if "entropies" in self.objective.inputs:
                self.compute_entropy = True

        def _compute_loss_and_metrics(self, model: Any, model_inputs: Any, grpo_batch: Any) -> Any:
            # A copy: a batch is used again in every iteration on it.
            self._running = one = copy.copy(grpo_batch)
            found = super()._compute_loss_and_metrics(model, model_inputs, one)
            check_fed(self._running, door=DOOR)
            return found

        def _get_per_token_logps_and_entropies(
            self, model: Any, model_inputs: Any, grpo_batch: Any, *args: Any, **kwargs: Any
        ) -> Any:
            found = super()._get_per_token_logps_and_entropies(
                model, model_inputs, grpo_batch, *args, **kwargs
            )
            if grpo_batch is not self._running:
                return found
            (log_probs, entropies), one = found, grpo_batch
            mask = one.completion_mask
            if self.overlong_filter:
                mask = mask & ~one.truncated_mask[:, None]
            given = log_probs, one.old_per_token_logps, one.advantages, mask, entropies
            self._running, fed = None, feed(self.objective, *given, door=DOOR)
            one.advantages, one.old_per_token_logps, metrics = fed
            for name, value in metrics.items():
                self._metrics["train" if self.model.training else "eval"][name].append(value)
            return found

    return MASPOTrainer


def probe(objective: str) -> None:
    """Make the trainer as ms-swift finds it; two tokens would need a run of it."""
    from swift.trainers import TrainerFactory

    mapping, before = TrainerFactory.TRAINER_MAPPING, list(_chosen)
    own = mapping["grpo"]
    try:
        use(objective)
        _trainer()
    finally:
        mapping["grpo"], _chosen[:] = own, before


def __getattr__(name: str) -> Any:
    """Make the trainer, which derives from one of ms-swift's, where it is asked for."""
    if name != "MASPOTrainer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _trainer()
