"""What no engine of verl can honour, whichever way a run is started."""

from __future__ import annotations

from maspo.core.objective import Objective
from maspo.errors import InputError


def check_objective(objective: Objective) -> None:
    """Raise InputError where the objective asks for what verl does not give a policy loss."""
    if objective.inputs:
        raise InputError(
            f"{objective.title} needs {', '.join(objective.inputs)}, which verl does not hand to policy "
            "losses; train it through TRL, or take another objective"
        )


def check_coupling(objective: Objective, part: int, whole: int) -> None:
    """Raise InputError where an objective that couples the batch would see a part of its mini-batch.

    `part` and `whole` count responses: those of a micro-batch, and those of an update.
    """
    if objective.couples_batch and part != whole:
        raise InputError(
            f"{objective.title} weighs tokens by their place among all {whole} responses of an update, and "
            f"verl would hand it {part} at a time; use one process and one micro-batch per update"
        )
