"""What the policy, as it is now, thinks of completions that a rollout holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from trl.models.utils import disable_gradient_checkpointing

from maspo.engines.trl.handover import Batch


@torch.no_grad()
def score_policy(trainer: Any, batches: Sequence[Batch], **seen: Any) -> Tensor:
    """Return log π of the completions of `batches`, `[rows, time]`, without gradient.

    `seen` is what stands beside the text, by TRL's names.
    """
    ids, mask = (
        torch.cat([torch.cat([b[f"prompt_{x}"], b[f"completion_{x}"]], dim=1) for b in batches])
        for x in ("ids", "mask")
    )
    args = trainer.args
    with disable_gradient_checkpointing(trainer.model, args.gradient_checkpointing_kwargs):
        scored, _, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model,
            ids,
            mask,
            batches[0]["completion_ids"].size(1),
            batch_size=args.per_device_train_batch_size,
            **seen,
        )
    return scored
