"""Which GPU each run of a race has to itself."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch


def visible_gpus() -> list[str]:
    """List the GPUs of this process, as `CUDA_VISIBLE_DEVICES` names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = [str(number) for number in range(torch.cuda.device_count())]
    return found if named is None else [one.strip() for one in named.split(",")][: len(found)]


def least_used(gpus: Sequence[str], used: Sequence[str | None]) -> str | None:
    """Return the first of the GPUs that the fewest running processes use; None without any."""
    return min(gpus, key=used.count, default=None)
