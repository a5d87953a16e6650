"""Where models lie: one rule for training and evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def best_device() -> torch.device:
    """Return the accelerator (of this process, where there are several), or the CPU without one."""
    import torch

    found = torch.accelerator.current_accelerator(check_available=True)
    return torch.device("cpu") if found is None else found
