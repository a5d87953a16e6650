"""Choosing between values token by token: what lies on the other side, NaN included, leaves no trace.

On CPUs torch.where is not vectorised and takes as long as some fifteen products of the same size. Read
as integers, numbers can be multiplied by 0 and 1 without regard to what they mean, which takes
as long as two and is exact as well. On GPUs torch.where is one kernel and does it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def by_kernel(x: Tensor) -> bool:
    """Whether torch.where is one fast kernel for `x`; both answers give the same bits, on any device."""
    return x.is_cuda


_INTEGERS = {torch.float32: torch.int32, torch.float64: torch.int64}


def only(x: Tensor, mask: Tensor) -> Tensor:
    """Zero `x` where `mask` is false and widen half precision to float32; float64 stays.

    A product with the mask would keep NaN (NaN * 0 = NaN) in the value and in the gradient. The
    result has no gradient. `mask` is bool, or what `prepared` made of it.
    """
    x = x.detach().to(torch.promote_types(x.dtype, torch.float32))
    if by_kernel(x):
        return torch.where(mask, x, x.new_zeros(()))
    integer = _INTEGERS[x.dtype]
    if mask.dtype != integer:
        # In place, in what was made just now: fresh memory costs more than the arithmetic.
        shape = torch.broadcast_shapes(mask.shape, x.shape)
        return mask.expand(shape).to(integer).mul_(x.view(integer)).view(x.dtype)
    return (x.view(integer) * mask).view(x.dtype)


def only_(x: Tensor, mask: Tensor) -> Tensor:
    """Give `only` of an `x`, float32 or float64, that may be overwritten."""
    if by_kernel(x):
        return only(x, mask)
    x.view(_INTEGERS[x.dtype]).mul_(mask)
    return x


def prepared(mask: Tensor, like: Tensor) -> Tensor:
    """Make of a bool mask what `only` takes fastest for numbers such as `like`, for use many times."""
    return (
        mask
        if by_kernel(like)
        else mask.to(_INTEGERS[torch.promote_types(like.dtype, torch.float32)])
    )


def choose(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Take `yes` where `condition`, bool, is true, else `no`; float32 or wider, without gradient."""
    dtype = torch.promote_types(yes.dtype, no.dtype)
    yes, no = yes.detach().to(dtype), no.detach().to(dtype)
    if by_kernel(condition):
        return torch.where(condition, yes, no)
    integer = _INTEGERS[dtype]
    one, other = yes.view(integer), no.view(integer)
    shape = torch.broadcast_shapes(condition.shape, yes.shape, no.shape)
    chosen = condition.expand(shape).to(integer)
    return chosen.mul_(one - other).add_(other).view(dtype)


def pick(condition: Tensor, yes: float, no: float, like: Tensor) -> Tensor:
    """Choose between two numbers, in the dtype of `like`; torch.where would round them to float32."""
    return choose(condition, like.new_tensor(yes), like.new_tensor(no))
