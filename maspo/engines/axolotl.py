# pyright: reportMissingImports=false
"""Any objective as Axolotl's GRPO trainer.

    rl: grpo
    trainer_cls: maspo.engines.axolotl.maspo        # any name of an objective

With hyperparameters, in a module of your own: `mine = trainer(maspo.MASPO(alpha=0.5))`, and
`trainer_cls: my_module.mine`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from maspo.core.objective import Objective
from maspo.engines.doors import Door
from maspo.engines.fed import TRL_LOSS_SETTINGS, check_fed, feed, open_clip
from maspo.engines.host import objective_of
from maspo.objectives import OBJECTIVES

DOOR = Door(
    title="Axolotl",
    package="axolotl",
    module="axolotl",
    place="trainer_cls: maspo.engines.axolotl.maspo",
    tried="0.21.0",
    hands=frozenset({"entropies"}),
)


def trainer(objective: Objective | str | Mapping[str, Any]) -> type:
    """Return a subclass of Axolotl's GRPO trainer that optimises `objective`. Raises InputError."""
    with DOOR.entered():
        from axolotl.core.trainers.grpo.trainer import AxolotlGRPOTrainer

    return fed_by(objective_of(objective), AxolotlGRPOTrainer)


@cache
def fed_by(objective: Objective, base: type) -> type:
    """Return a subclass of `base`, a GRPOTrainer of TRL, that optimises `objective`."""
    DOOR.check(objective)

    class MASPOTrainer(base):  # type: ignore[misc, valid-type]
        """The trainer with the objective in the place of TRL's surrogate."""

        _running: dict[str, Any] | None = None

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            open_clip(self, self.args, TRL_LOSS_SETTINGS, door=DOOR)

        def _compute_loss(self, model: Any, inputs: Any) -> Any:
            # A copy: a batch is used again in every iteration on it.
            self._running = one = dict(inputs)
            loss = super()._compute_loss(model, one)
            check_fed(self._running, door=DOOR)
            return loss

        def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
            log_probs, entropies, *_ = found = super()._get_per_token_logps_and_entropies(
                *args, **kwargs
            )
            one = self._running
            if one is None:
                return found
            mask = one["completion_mask"] * one.get("tool_mask", 1)
            old = one.get("old_per_token_logps")
            given = log_probs, old, one["advantages"], mask, entropies
            self._running, fed = None, feed(objective, *given, door=DOOR)
            one["advantages"], one["old_per_token_logps"], metrics = fed
            for name, value in metrics.items():
                self._metrics["train" if self.model.training else "eval"][name].append(value)
            return found

    return MASPOTrainer


def probe(objective: str) -> None:
    """Make the trainer; two tokens would need a run of Axolotl."""
    trainer(objective)


def __getattr__(name: str) -> Any:
    """Make the trainer of the objective called `name`."""
    if name not in OBJECTIVES:
        raise AttributeError(f"module {__name__!r} has no objective {name!r}")
    return trainer(name)
