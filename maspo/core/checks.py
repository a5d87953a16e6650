"""What goes wrong at the door of `policy_loss`, in sentences; engines know their tensors and skip it."""

from __future__ import annotations

import torch
from torch import Tensor

from maspo.core.batch import TokenBatch, finite
from maspo.errors import InputError

SUSPECT = 0.5
"""A log-probability above this is looked into. Rounding alone can lift one above 0: in bfloat16 a logit of
30, less the logarithm of a sum of exponentials, is exact to 1/8."""

IMPOSSIBLE = 1.0
"""No rounding makes a log-probability greater than this."""


def check_inputs(
    batch: TokenBatch,
    log_probs: Tensor,
    old_log_probs: Tensor,
    mask: Tensor,
    ref_log_probs: Tensor | None = None,
) -> None:
    """Raise InputError for log-probabilities that are none, and for a mask that is not 0 or 1.

    The tensors are `[batch, time]` as the caller gave them, `batch` what was made of them. Costs a
    maximum each, a look at a mask that is not bool, and one wait for the device.
    """
    given = {"log_probs": log_probs, "old_log_probs": old_log_probs, "ref_log_probs": ref_log_probs}
    for name, tensor in given.items():
        if tensor is not None and not tensor.is_floating_point():
            raise InputError(
                f"{name} must be log-probabilities, not {str(tensor.dtype).removeprefix('torch.')} "
                "numbers; are these token ids?"
            )
    if not batch.mask.numel():
        return
    cleaned = {"log_probs": batch.log_probs, "old_log_probs": batch.old_log_probs}
    if ref_log_probs is not None and ref_log_probs.shape == mask.shape:
        cleaned["ref_log_probs"] = finite(ref_log_probs, batch.kept)
    suspects = [tensor.amax() > SUSPECT for tensor in cleaned.values()]
    if mask.dtype != torch.bool:
        suspects.append(((mask != 0) & (mask != 1)).any())
    found = torch.stack(suspects).tolist()
    for (name, tensor), suspect in zip(cleaned.items(), found, strict=False):
        if suspect:
            # From old ones weights may be divided out (see VESPO), which lifts some above 0.
            check_signs(name, tensor[batch.mask], all_of_them=name == "old_log_probs")
    if any(found[len(cleaned) :]):
        value = mask[(mask != 0) & (mask != 1)][0].item()
        raise InputError(
            f"mask must be bool, or 0 and 1, and holds {value:g}; weights of tokens go into advantages "
            "or rollout_weights"
        )


def check_signs(name: str, values: Tensor, *, all_of_them: bool) -> None:
    """Raise InputError where `values`, of the tokens alone, cannot be log-probabilities.

    That is where one is impossible, or where all are above 0; with `all_of_them` only there.
    """
    low, high = float(values.min()), float(values.max())
    if low > 0 and high <= 1:
        raise InputError(
            f"{name} must be log-probabilities, and all lie between 0 and 1 ({low:g} to {high:g}), "
            "as probabilities do; give their logarithms"
        )
    if low > 0 or (high > IMPOSSIBLE and not all_of_them):
        raise InputError(
            f"{name} must be log-probabilities, which are at most 0, and one is {high:g}; turn the "
            "sign of negative log-likelihoods, and take the log_softmax of logits"
        )
