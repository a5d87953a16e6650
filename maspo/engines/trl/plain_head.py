"""TRL 1.15's fused head in plain torch, for a machine without a GPU.

That version computes log-probabilities by Triton kernels alone. The versions around it need none on a CPU.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from trl.trainer import utils

from maspo.engines.trl.names import SUPPORTED

ROWS = 1024
"""How many positions have their logits in memory at once."""

Values = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


class PlainHead:
    """In the place of TRL's `ChunkedLogProbFunction`, whose arguments and values it has."""

    @staticmethod
    def apply(
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        temperature: float,
        chunk_size: int,
        softcap: float | None = None,
        logit_scale: float = 1.0,
        outputs: Collection[str] = (),
    ) -> tuple[Tensor | None, ...]:
        """Return log-probabilities, entropies, log Σ p², mean logits and whether a target is the argmax.

        `hidden` is `[N, H]`, `weight` `[V, H]`, `targets` `[N]`; each value `[N]`, None where `outputs`
        lacks it. Logits are computed again in the backward pass, as the kernels do; `chunk_size`, theirs, has
        no use here.
        """

        def values(hidden: Tensor, targets: Tensor) -> Values:
            logits = functional.linear(hidden, weight.to(hidden.dtype), bias)
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) * logit_scale
            if softcap is not None:
                logits = softcap * torch.tanh(logits / softcap)
            logits = logits / temperature
            log_p = logits.log_softmax(-1)
            return (
                log_p.gather(1, targets[:, None])[:, 0],
                -(log_p.exp() * log_p).sum(-1),
                (2 * log_p).logsumexp(-1),
                logits.mean(-1),
                logits.argmax(-1) == targets,
            )

        parts = [
            checkpoint(values, *rows, use_reentrant=False)
            for rows in zip(hidden.split(ROWS), targets.split(ROWS), strict=True)
        ]
        asked = (
            True,
            *(
                name in outputs
                for name in ("entropy", "log_sum_sq_probs", "mean_logits", "is_top1")
            ),
        )
        return tuple(
            torch.cat(one) if wanted else None
            for one, wanted in zip(zip(*parts, strict=True), asked, strict=True)
        )


def score_without_triton() -> None:
    """Let TRL 1.15 score a policy on a machine that has no GPU."""
    if SUPPORTED.installed().startswith("1.15.") and not _has_accelerator():
        utils._ChunkedLogProbFunction = PlainHead


def _has_accelerator() -> bool:
    return torch.cuda.is_available() or torch.xpu.is_available()
