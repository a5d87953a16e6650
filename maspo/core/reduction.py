"""From tokens to one number: the only place that sums a loss.

Every reduction is a weight per token, and every weight has a denominator that can be handed in:
the count over the whole optimizer step, on all ranks. With it, a batch cut into any micro-batches
gives the same gradient as the batch in one piece, each micro-batch contributing its part of a sum.

    name                      weight of a token                    denominator counts
    token-mean                1 / tokens                           tokens
    seq-mean-token-mean       1 / (sequences · own length)         sequences
    seq-mean-token-sum        1 / sequences                        sequences
    seq-mean-token-sum-norm   1 / (sequences · max_length)         sequences

The names are verl's. TRL's `loss_type` has the same four as dapo, grpo, luspo and dr_grpo.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maspo.errors import InputError, unknown

REDUCTIONS = (
    "token-mean",
    "seq-mean-token-mean",
    "seq-mean-token-sum",
    "seq-mean-token-sum-norm",
)


def reduce_tokens(
    values: Tensor,
    mask: Tensor,
    reduction: str,
    *,
    denominator: Tensor | float | None = None,
    max_length: int | None = None,
) -> Tensor:
    """Reduce `values`, `[batch, time]` and 0 under the mask, to a scalar.

    `mask` is bool `[batch, time]`. `denominator` is the global count the table above names; without
    it the tokens, or the sequences that have any, of this batch are counted. `max_length` is the
    constant length of seq-mean-token-sum-norm, in tokens, and belongs to no other reduction.
    """
    if reduction not in REDUCTIONS:
        raise unknown("reduction", reduction, REDUCTIONS)
    if (max_length is not None) != (reduction == "seq-mean-token-sum-norm"):
        raise InputError(
            f"max_length={max_length} does not fit {reduction}: seq-mean-token-sum-norm needs it, "
            "the others have no use for it"
        )
    lengths, sums = mask.sum(1, dtype=torch.int32), values.sum(1)
    if denominator is None:
        counted = lengths.sum() if reduction == "token-mean" else (lengths > 0).sum()
        denominator = counted.clamp(min=1)
    if reduction == "seq-mean-token-mean":
        sums = sums / lengths.clamp(min=1)
    return sums.sum() / (denominator * (max_length or 1))
