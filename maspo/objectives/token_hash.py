"""Pseudo-random numbers for tokens that need no random state: a hash of the batch and of the seed."""

from __future__ import annotations

import torch
from torch import Tensor

from maspo.core.batch import TokenBatch

GOLDEN, MIX_1, MIX_2 = (
    x - 2**64 for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def token_keys(batch: TokenBatch, seed: int, among: Tensor) -> Tensor:
    """Give each of the tokens that `among` marks, bool `[batch, time]`, an evenly distributed int64 key.

    One-dimensional, in the order of the batch. A key depends on `seed`, on the log-probabilities
    (as float32) of all tokens of the batch, and on the token's sequence and place in it. So it is
    the same in every run, on every process that holds the same batch, and for any padding and order
    of the sequences; and in another batch, such as the same tokens after one update, all keys are
    new and tell nothing of the tokens that bear them. Sequences of the same log-probabilities have
    equal keys.
    """
    bits = batch.log_probs.float().view(torch.int32).long().mul_(MIX_1)
    content = bits.bitwise_xor_(bits >> 29).mul_(MIX_2)  # 0 under the mask, as log_probs is
    sequence = mixed(content.sum(1))
    every = mixed(sequence.sum() + mixed(sequence.new_tensor(seed)))
    first = batch.mask.view(torch.uint8).argmax(1)
    rows, places = among.nonzero(as_tuple=True)
    return mixed(sequence[rows] + every + GOLDEN * (places - first[rows] + 1))


def mixed(x: Tensor) -> Tensor:
    """Scramble int64 numbers, one to one: the finaliser of SplitMix64 (doi:10.1145/2660193.2660195)."""
    x = (x ^ shifted(x, 30)) * MIX_1
    x = (x ^ shifted(x, 27)) * MIX_2
    return x ^ shifted(x, 31)


def shifted(x: Tensor, places: int) -> Tensor:
    """Shift right and fill with zeros, where >> on int64 would fill with the sign."""
    return (x >> places) & ((1 << (64 - places)) - 1)
