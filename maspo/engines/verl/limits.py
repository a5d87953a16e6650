"""What no engine of verl can honour, whichever way a run is started."""

from __future__ import annotations

from maspo.core.objective import Objective
from maspo.errors import InputError

MICRO_BATCH = "micro_batch"
"""The word that lets an objective couple the micro-batches of all processes, and no more."""

GIVEN = {"entropies"}
"""What verl computes and our plug-in hands to an objective that asks for it."""


def check_objective(objective: Objective) -> None:
    """Raise InputError where the objective asks for what verl does not give a policy loss."""
    missing = [name for name in objective.inputs if name not in GIVEN]
    if missing:
        raise InputError(
            f"{objective.title} needs {', '.join(missing)}, which verl does not hand to policy losses; "
            "train it through TRL, or take another objective"
        )


def check_coupling(objective: Objective, part: int, whole: int, coupling: str | None) -> None:
    """Raise InputError where an objective that couples the batch would see a part of its mini-batch.

    `part` and `whole` count responses: those that all processes hold in a micro-batch (0: not known
    before, as dynamic batches count tokens), and those of an update. `coupling` says what was asked for.
    """
    if not objective.couples_batch or part == whole or coupling == MICRO_BATCH:
        return
    seen = f"{part} at a time" if part else "micro-batches by their tokens"
    raise InputError(
        f"{objective.title} weighs tokens by their place among all {whole} responses of an update, and "
        f"verl would hand it {seen}; use one micro-batch per update, or say that its micro-batches, over "
        f"all processes, are what is meant, as in the authors' code: training.coupling={MICRO_BATCH}"
    )
