"""From tokens to one number.

TRL and verl sum by themselves, with the same four weights; `reduce_tokens` is for everything else.

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

from maspo.core.shapes import Mask, Scalar, Tokens
from maspo.errors import InputError, unknown

REDUCTIONS = (
    "token-mean",
    "seq-mean-token-mean",
    "seq-mean-token-sum",
    "seq-mean-token-sum-norm",
)


DEFAULT_REDUCTION = "token-mean"
"""Where neither the caller nor the objective names one."""


def reduce_tokens(
    values: Tokens,
    mask: Mask,
    reduction: str,
    *,
    denominator: Tensor | float | None = None,
    max_length: int | None = None,
) -> Scalar:
    """Reduce `values`, `[batch, time]` and 0 under the mask, to a scalar.

    `mask` is bool `[batch, time]`. `denominator` is the global count the table above names; without
    it the tokens, or the sequences that have any, of this batch are counted. `max_length` is the
    constant length of seq-mean-token-sum-norm, in tokens, and belongs to no other reduction.
    """
    if reduction not in REDUCTIONS:
        raise unknown("reduction", reduction, REDUCTIONS)
    check_length(reduction, max_length)
    lengths, sums = mask.sum(1, dtype=torch.int32), values.sum(1)
    if denominator is None:
        counted = lengths.sum() if reduction == "token-mean" else (lengths > 0).sum()
        denominator = counted.clamp(min=1)
    if reduction == "seq-mean-token-mean":
        sums = sums / lengths.clamp(min=1)
    return sums.sum() / (denominator * (max_length or 1))


def check_length(reduction: str, max_length: int | None) -> None:
    """Raise InputError where `max_length` is missing, or would do nothing, or is not positive."""
    meaning = "the number of tokens that sequences are divided by, such as the generation limit"
    needed = reduction == "seq-mean-token-sum-norm"
    if needed and max_length is None:
        raise InputError(f"the reduction {reduction} needs max_length, {meaning}")
    if not needed and max_length is not None:
        raise InputError(f"the reduction {reduction} has no use for max_length, {meaning}")
    if max_length is not None and max_length < 1:
        raise InputError(f"max_length must be at least 1, not {max_length}: {meaning}")
