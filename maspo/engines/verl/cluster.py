"""What a run of verl is spread over, and whether its parts divide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from maspo.errors import InputError

BACKENDS = ("fsdp", "fsdp2", "megatron")
ROLLOUTS = ("vllm", "sglang")
ACTOR, ROLLOUT, MODEL = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "model"))


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What a run is spread over."""

    nodes: int = 1
    gpus_per_node: int = 1
    backend: str = "fsdp2"
    """One of `BACKENDS`, which hold and update the weights."""
    rollout: str = "vllm"
    """One of `ROLLOUTS`, which sample."""

    def __post_init__(self) -> None:
        """Raise InputError for a word that verl does not know."""
        for kind, given, known in (
            ("backend", self.backend, BACKENDS),
            ("rollout", self.rollout, ROLLOUTS),
        ):
            if given not in known:
                raise InputError(f"--{kind} must be one of {', '.join(known)}, not {given}")
        if self.nodes < 1 or self.gpus_per_node < 1:
            raise InputError(
                f"--nodes and --gpus-per-node must be positive, not {self.nodes} and {self.gpus_per_node}"
            )

    @property
    def world(self) -> int:
        """The GPUs of all machines."""
        return self.nodes * self.gpus_per_node

    def data_parallel(self, extra: Mapping[str, Any]) -> int:
        """Count the processes that each take a share of a mini-batch; `extra` is the section `verl`."""
        if self.backend == "megatron":
            parts = ("tensor_model", "pipeline_model", "context")
            keys = [f"{ACTOR}.megatron.{part}_parallel_size" for part in parts]
        else:
            keys = [f"{ACTOR}.fsdp_config.ulysses_sequence_parallel_size"]
        return self._shared(extra, keys)

    def replicas(self, extra: Mapping[str, Any]) -> int:
        """Count the copies of the model that sample; InputError where the GPUs do not divide."""
        parts = ("tensor_model", "data", "pipeline_model")
        return self._shared(extra, [f"{ROLLOUT}.{part}_parallel_size" for part in parts])

    def _shared(self, extra: Mapping[str, Any], keys: list[str]) -> int:
        split = 1
        for key in keys:
            split *= whole(key, extra.get(key, 1))
        if self.world % split:
            raise InputError(
                f"{self.world} GPUs cannot be divided into groups of {split}: see {keys[0]}"
            )
        return self.world // split


def whole(key: str, given: Any) -> int:
    """Return a positive whole number that stands under `verl`; InputError for anything else."""
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise InputError(f"verl.{key} must be a positive whole number, not {given!r}")
    return given
