"""What an objective sees: the tokens of some responses, cleaned of everything under the mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from maspo.core import select
from maspo.core.select import only, only_, prepared
from maspo.core.shapes import Groups, Mask, Tokens

MAX_LOG_RATIO = 20.0
"""|log ratio| beyond which a token counts as broken: its ratio is held there, and its gradient is 0."""

MAX_LOG_PROB = 1e5
"""|log-probability| that stands for an impossible token: beyond any exponent, yet its sums are finite."""


@dataclass(frozen=True, kw_only=True)
class TokenBatch:
    """The inputs of an objective: detached, finite, float32 or wider, and 0 wherever `mask` is false.

    Tensors are `[batch, time]` unless they say otherwise; log-probabilities are natural logarithms
    of the probability of the sampled token. Make one with `TokenBatch.clean`, which establishes what
    is promised here; what is `given_` is as the caller has it.
    """

    log_probs: Tokens
    """log π of the policy being trained."""
    given_old_log_probs: Tokens
    """What `old_log_probs` is made of when an objective first asks for it: not all do."""
    advantages: Tokens
    """A, per token."""
    mask: Mask
    """Bool; true on response tokens."""
    given_entropies: Tokens | None = None
    """What `entropies` is made of, likewise."""
    groups: Groups | None = None
    """`[batch]`, int: sequences with the same number answer the same prompt; none: not known."""
    max_log_ratio: float = MAX_LOG_RATIO
    """|log ratio| at which the ratio is held."""
    sum_over_processes: Callable[[Tensor], Tensor] | None = None
    """Adds up a tensor over all processes, for objectives that couple the batch; none: one process."""

    @classmethod
    def clean(
        cls,
        log_probs: Tensor,
        old_log_probs: Tensor,
        advantages: Tensor,
        mask: Tensor,
        entropies: Tensor | None = None,
        sum_over_processes: Callable[[Tensor], Tensor] | None = None,
        groups: Tensor | None = None,
    ) -> TokenBatch:
        """Detach, widen and mask the inputs; `advantages` may be `[batch]`, `groups` is.

        Masked slots may hold anything, NaN and infinity included. Raises ValueError where shapes
        do not agree.
        """
        if log_probs.dim() != 2:
            raise ValueError(f"log_probs must be [batch, time], not {list(log_probs.shape)}")
        if advantages.shape == log_probs.shape[:1]:
            advantages = advantages.unsqueeze(1).expand_as(log_probs)
        mask = mask.bool()
        given = {
            "log_probs": log_probs,
            "old_log_probs": old_log_probs,
            "advantages": advantages,
            "mask": mask,
            "entropies": entropies,
        }
        for name, tensor in given.items():
            if tensor is not None and tensor.shape != log_probs.shape:
                expected = list(log_probs.shape)
                raise ValueError(f"{name} must be {expected}, not {list(tensor.shape)}")
        if groups is not None and groups.shape != log_probs.shape[:1]:
            raise ValueError(f"groups must be {[len(log_probs)]}, not {list(groups.shape)}")
        kept = prepared(mask, log_probs)
        batch = cls(
            log_probs=finite(log_probs, kept),
            given_old_log_probs=old_log_probs,
            advantages=only(advantages, kept),
            mask=mask,
            given_entropies=entropies,
            groups=groups,
            sum_over_processes=sum_over_processes,
        )
        vars(batch)["kept"] = kept  # made already
        return batch

    @cached_property
    def kept(self) -> Tensor:
        """The mask as `select.only` takes it fastest, `[batch, time]`."""
        return prepared(self.mask, self.log_probs)

    @cached_property
    def old_log_probs(self) -> Tokens:
        """log π_old of the policy that the update starts from, `[batch, time]`."""
        return finite(self.given_old_log_probs, self.kept)

    @cached_property
    def entropies(self) -> Tensor | None:
        """Entropy of the policy at each position, `[batch, time]`, in nats; none: not known."""
        return None if self.given_entropies is None else only(self.given_entropies, self.kept)

    @cached_property
    def log_ratio(self) -> Tokens:
        """log π - log π_old, `[batch, time]`, as it is: not bounded."""
        return self.log_probs - self.old_log_probs

    @cached_property
    def ratio(self) -> Tokens:
        """π / π_old, `[batch, time]`, held where its logarithm leaves ± `max_log_ratio`."""
        return self.log_ratio.clamp(-self.max_log_ratio, self.max_log_ratio).exp_()

    @cached_property
    def broken(self) -> Mask:
        """Bool `[batch, time]`: the ratio is out of bounds."""
        return self.log_ratio.abs() > self.max_log_ratio

    def intact(self, x: Tensor) -> Tensor:
        """Give `x`, `[batch, time]`, with 0 where the ratio is out of bounds; it may be `x` itself."""
        if x.numel() and not select.by_kernel(
            x
        ):  # a look costs no wait for a device, and spares five passes
            low, high = self.log_ratio.aminmax()
            if max(-low, high) <= self.max_log_ratio:
                return x
        return only(x, ~self.broken)

    @cached_property
    def lengths(self) -> Tensor:
        """Number of tokens of each sequence, `[batch, 1]`; 1 for an empty one, for division."""
        return self.mask.sum(1, keepdim=True, dtype=torch.int32).clamp(min=1)

    def sequence_mean(self, x: Tensor) -> Tensor:
        """Average `x` over the tokens of each sequence, `[batch, 1]`; `x` is 0 under the mask."""
        return x.sum(1, keepdim=True) / self.lengths

    @cached_property
    def sequence_advantages(self) -> Tensor:
        """A of the sequence at each of its tokens, `[batch, time]`: the mean over the tokens."""
        return self.spread(self.sequence_mean(self.advantages))

    def total(self, sums: Tensor) -> Tensor:
        """Add up `sums` of this batch with those of the batches that other processes hold."""
        return sums if self.sum_over_processes is None else self.sum_over_processes(sums)

    def spread(self, x: Tensor) -> Tensor:
        """Give every token the value of its sequence, `[batch, 1]` to `[batch, time]`."""
        return only(x.expand_as(self.log_probs), self.kept)

    def pooled(self) -> TokenBatch:
        """Return the batch in which every token carries the mean log-probabilities of its sequence.

        The ratio becomes GSPO's length-normalised sequence ratio and π_old the geometric mean.
        """
        new, old = (
            self.spread(self.sequence_mean(x)) for x in (self.log_probs, self.old_log_probs)
        )
        return replace(self, log_probs=new, given_old_log_probs=old)


def finite(log_probs: Tensor, mask: Tensor) -> Tensor:
    """Detach and mask log-probabilities and hold them within ± `MAX_LOG_PROB`.

    So log 0 = -inf is a number; NaN outside the mask stays.
    """
    x = log_probs.detach().to(torch.promote_types(log_probs.dtype, torch.float32))
    return only_(x.clamp(-MAX_LOG_PROB, MAX_LOG_PROB), mask)
