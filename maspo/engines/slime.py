# pyright: reportMissingImports=false
"""Any objective as the loss of slime, and of miles and vime, which took its door over.

--loss-type custom_loss --custom-loss-function-path maspo.engines.slime.loss
--custom-config-path maspo.yaml          # maspo_objective: {name: maspo, alpha: 0.5}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from maspo.engines.doors import Door
from maspo.engines.host import host_loss

DOOR = Door(
    title="slime",
    package="slime",
    module="slime.backends",
    place="--loss-type custom_loss --custom-loss-function-path maspo.engines.slime.loss",
    tried="its loss.py at 624b824, read; with a stand-in for Megatron",
    hands=frozenset({"entropies"}),
)


TOKENS = ("unconcat_tokens", "total_lengths", "response_lengths")
"""What slime's own function takes from a batch to score its tokens."""


def loss(
    args: Any,
    batch: Mapping[str, Any],
    logits: Tensor,
    sum_of_sample_mean: Callable[[Tensor], Tensor],
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss of a micro-batch, `logits` `[1, tokens, vocabulary]`, reduced as slime reduces.

    The old policy is the sampler's under --use-rollout-logprobs. Raises InputError.
    """
    with DOOR.entered():
        from slime.backends.megatron_utils import loss as theirs

    _check(args)
    given: dict[str, Any] = {name: batch[name] for name in TOKENS}
    if hasattr(theirs, "get_rollout_top_p_logprob_kwargs"):  # a nucleus that is replayed
        given |= theirs.get_rollout_top_p_logprob_kwargs(args, batch)
    _, scored = theirs.get_log_probs_and_entropy(logits, args=args, with_entropy=True, **given)
    new, masks = scored["log_probs"], batch["loss_masks"]
    old = batch["rollout_log_probs"] if args.use_rollout_logprobs else batch.get("log_probs")
    if [len(x) for x in masks] != [len(x) for x in new]:
        raise DOOR.error("a process holds parts of sequences; set --context-parallel-size 1")
    entropies = [x.detach() for x in scored["entropy"]]
    lists = new, old or [x.detach() for x in new], batch["advantages"], masks, entropies
    *rows, entropy_rows = (pad_sequence(list(x), batch_first=True) for x in lists)
    objective = getattr(args, "maspo_objective", "maspo")
    found = host_loss(objective, *rows, door=DOOR, entropies=entropy_rows)

    def flat(x: Tensor) -> Tensor:
        return torch.cat([row[: len(one)] for row, one in zip(x, new, strict=True)])

    # The second term keeps a graph where no token is left.
    reduced = sum_of_sample_mean(flat(found.tokens)) + 0 * logits.sum()
    # slime adds these up by position over micro-batches and processes: the same ones, and sums, each time.
    seen = {"maspo/weight": found.applied.weights, "maspo/ratio": found.applied.batch.ratio}
    logged = {name: sum_of_sample_mean(flat(x).to(logits)) for name, x in seen.items()}
    return reduced, {"loss": reduced.detach(), **logged}


def _check(args: Any) -> None:
    """Raise InputError for what slime's own loss would do besides, and this one does not."""
    cures = {
        "use_kl_loss": "put the KL into the reward (--kl-coef)",
        "entropy_coef": "leave it out",
        "use_tis": "take an objective that looks at the sampler (--use-rollout-logprobs)",
        "use_opsm": "set off_policy_threshold of the objective",
    }
    for name, cure in cures.items():
        if getattr(args, name, None):
            raise DOOR.error(f"--{name.replace('_', '-')} is of slime's own loss: {cure}")


def probe(objective: str) -> None:
    """Import what the loss takes of slime; two tokens would need its Megatron."""
    import slime.backends.megatron_utils.loss  # noqa: F401
