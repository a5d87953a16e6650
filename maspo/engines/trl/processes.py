"""The processes that train together, as accelerate started them."""

from __future__ import annotations

from typing import Any

from accelerate import PartialState
from accelerate.utils import DistributedType, broadcast_object_list

from maspo.errors import InputError


class Processes:
    """One process, or several that `accelerate launch` started, each with a whole copy of the model."""

    def __init__(self) -> None:
        """Raise InputError under FSDP and DeepSpeed, where no process has the whole model."""
        self._state = PartialState()
        kind = self._state.distributed_type
        if kind in (DistributedType.FSDP, DistributedType.DEEPSPEED):
            raise InputError(
                f"maspo train evaluates with the whole model on one process, which {kind.value} does not "
                "leave there; use MASPOTrainer in a script of your own under it"
            )

    @property
    def count(self) -> int:
        """Number of processes."""
        return self._state.num_processes

    @property
    def first(self) -> bool:
        """Whether this is the one that evaluates, writes and speaks."""
        return self._state.is_main_process

    def share(self, value: Any) -> Any:
        """Give every process the value that the first one has."""
        return broadcast_object_list([value])[0]

    def wait(self) -> None:
        """Wait until all processes are here."""
        self._state.wait_for_everyone()
