"""The processes that train together, as accelerate started them."""

from __future__ import annotations

from typing import Any

from accelerate import PartialState
from accelerate.utils import (
    broadcast_object_list,
    disable_fsdp_ram_efficient_loading,
    gather_object,
)

from maspo.sampling.interface import Part


class AccelerateProcesses:
    """One process, or several that `accelerate launch` or torchrun started."""

    def __init__(self) -> None:
        """Find them, and let each load a whole model, also where its weights are dealt out later."""
        self._state = PartialState()
        disable_fsdp_ram_efficient_loading()

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
