# pyright: reportMissingImports=false
"""verl's plug-in: at import, every objective becomes a policy loss of verl.

The entry point in the group `verl.plugins` names this module, so any process that imports verl
imports it. verl logs a plug-in that fails at DEBUG, where nobody looks; this one says so on stderr.
"""

from __future__ import annotations

import sys
import traceback

from maspo.engines.verl import SUPPORTED

PREFIX = "maspo."
"""Every objective is registered as `maspo.<name>`, and as `<name>` where verl has no such loss."""


def register() -> None:
    """Enter every objective, and the advantage estimators that verl lacks, in verl's registries.

    verl's `ppo_loss` also tells them what it knows, see `maspo.engines.verl.handover`.
    """
    SUPPORTED.check()
    from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY, register_policy_loss

    from maspo.engines.verl.advantages import register_advantages
    from maspo.engines.verl.handover import tell_losses
    from maspo.engines.verl.loss import VerlLoss
    from maspo.objectives import OBJECTIVES

    for name in OBJECTIVES:
        loss = VerlLoss(name)
        register_policy_loss(PREFIX + name)(loss)
        if name not in POLICY_LOSS_REGISTRY:
            register_policy_loss(name)(loss)
    register_advantages()
    tell_losses()


def losses() -> dict[str, str]:
    """Give the names in verl's registry that are ours, and the objective of each."""
    from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY

    from maspo.engines.verl.loss import VerlLoss

    return {
        name: loss.objective_name
        for name, loss in POLICY_LOSS_REGISTRY.items()
        if isinstance(loss, VerlLoss)
    }


try:
    register()
except BaseException:
    print("maspo: its plug-in for verl failed, and NO objective is registered:", file=sys.stderr)
    traceback.print_exc()
    raise
