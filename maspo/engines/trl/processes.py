"""The processes that train together, as accelerate started them."""

from __future__ import annotations

from typing import Any

from accelerate import PartialState
from accelerate.utils import DistributedType, broadcast_object_list, gather_object

from maspo.errors import InputError
from maspo.sampling.interface import Part


class AccelerateProcesses:
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
        """Whether this is the one that writes and speaks."""
        return self._state.is_main_process

    @property
    def part(self) -> Part:
        """The part of shared work that this one does."""
        return Part(index=self._state.process_index, count=self._state.num_processes)

    def share(self, value: Any) -> Any:
        """Give every process the value that the first one has."""
        return broadcast_object_list([value])[0]

    def gather(self, value: Any) -> list[Any]:
        """Give every process the values of all, in their order."""
        return gather_object([value])

    def wait(self) -> None:
        """Wait until all processes are here."""
        self._state.wait_for_everyone()
