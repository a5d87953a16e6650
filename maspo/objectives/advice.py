"""What is known to go wrong in a set-up, in sentences; engines, plans and reports say them."""

from __future__ import annotations

from maspo.core.objective import Objective

INERT = (
    "with 1 update per rollout every ratio is 1 and no gate acts: all objectives give the same "
    "gradient; raise updates_per_rollout (the MASPO paper uses 16)"
)
"""Of a set-up in which it makes no difference which objective is optimised."""


def depends_on_micro_batch(objective: Objective) -> bool:
    """Whether weights change with the part of an update that is handed in, groups being whole."""
    return objective.couples_batch and "groups" not in objective.inputs


def partial_batch(objective: Objective, part: int, whole: int) -> str | None:
    """Say what a batch-coupled objective makes of `part` of the `whole` completions of an update."""
    if not depends_on_micro_batch(objective) or part >= whole:
        return None
    return (
        f"{objective.title} weighs tokens by their place in the batch, and sees {part} of the {whole} "
        f"completions of an update at a time: its weights depend on the micro-batch; for those of the "
        f"whole update make the micro-batch {whole}"
    )
