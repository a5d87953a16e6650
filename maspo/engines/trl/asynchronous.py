"""Any objective on TRL's AsyncGRPOTrainer, which trains while an older policy samples.

Its loss hard-codes GRPO's clip and takes the log-probabilities of the sampler for the old ones. TRL's
`compute_loss` runs here for what it logs and counts; it sees the log-probabilities without gradient,
and the loss that is returned is the objective's, on the same tokens, packed as TRL packed them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from trl.experimental.async_grpo import AsyncGRPOConfig, AsyncGRPOTrainer, async_grpo_trainer
from trl.experimental.async_grpo.packing import TREE_ATTENTION, tree_attention

from maspo.core.apply import Applied, apply_objective
from maspo.core.batch import TokenBatch
from maspo.core.objective import Objective
from maspo.core.reduction import DEFAULT_REDUCTION, REDUCTIONS, reduce_tokens
from maspo.core.rollout import ROLLOUT_MODES, reject, rollout_weights
from maspo.engines.supported import refuse_owned
from maspo.engines.trl.gate_log import GateLog, clip_ratios
from maspo.engines.trl.names import FIELDS, SUPPORTED
from maspo.errors import InputError, unknown
from maspo.objectives import MASPO, as_objective


@dataclass
class AsyncMASPOConfig(AsyncGRPOConfig):
    """AsyncGRPOConfig, plus which objective to optimise.

    The old policy is the one that sampled, up to `max_staleness` versions ago, so gates act with a single
    update too. Where A < 0 and the ratio is far above 1 most objectives are unbounded: `cap` of the
    objective bounds them, hard, or softly with `soft_cap`; without it there is no bound.
    Raises InputError for `epsilon` and `epsilon_high`, which are the objective's, and for an objective
    that looks at other sequences: the micro-batches here are as the queue makes them.
    """

    objective: Objective = field(default_factory=MASPO)
    """What to optimise, such as `maspo.MASPO(cap=3.0, soft_cap=True)`, or a name in `maspo.OBJECTIVES`."""

    reduction: str | None = None
    """How tokens become one number; without it the objective's own, or token-mean, which is TRL's."""

    correction: dict[str, Any] | None = None
    """`mode`, `low` and `high` of `maspo.rollout_weights`, of the current policy against the sampler.
    The modes that reject whole sequences leave the old policy the sampler. With the others the weights
    carry the difference, the old policy is the current one, and no gate acts."""

    epsilon: float | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    """TRL's own clip; it is the objective's here."""

    def __post_init__(self) -> None:
        """Check what TRL cannot know of, then let it check the rest."""
        self.objective = as_objective(self.objective)
        for name in ("epsilon", "epsilon_high"):
            setting = (name, getattr(self, name), None)
            refuse_owned(SUPPORTED, [setting], f"on the objective, where it is {FIELDS[name]}")
        title, inputs = self.objective.title, set(self.objective.inputs) - {"entropies"}
        if self.objective.couples_batch or inputs:
            raise InputError(
                f"{title} looks at other sequences than a token's own, and asynchronous micro-batches hold "
                "whatever the queue holds: take an objective of tokens or of sequences"
            )
        if self.reduction is None:
            self.reduction = self.objective.reduction or DEFAULT_REDUCTION
        if self.reduction not in REDUCTIONS:
            raise unknown("reduction", self.reduction, REDUCTIONS)
        mode = (self.correction or {}).get("mode", "token_truncate")
        if mode not in ROLLOUT_MODES:
            raise unknown("rollout mode", mode, ROLLOUT_MODES)
        super().__post_init__()

    @property
    def rejects(self) -> bool:
        """Whether the correction only leaves sequences out."""
        mode = (self.correction or {}).get("mode", "token_truncate")
        return ROLLOUT_MODES[mode].decide is reject

    def to_dict(self) -> dict[str, Any]:
        """As in TrainingArguments, with the objective in words."""
        return {**super().to_dict(), "objective": repr(self.objective)}


class AsyncMASPOTrainer(AsyncGRPOTrainer):
    """Trains with `args.objective`; queue, packing, weight transfer and metrics are AsyncGRPOTrainer's.

    Logs what the gate did under `maspo/...`, and under `clip_ratio/...` the tokens whose gradient the
    objective cuts to zero. Raises InputError where attention needs a GPU and there is none.
    """

    args: AsyncMASPOConfig

    _tag_names = ["trl", "async-grpo", "maspo"]  # noqa: RUF012  (as in TRL)

    def __init__(
        self, model: str, reward_funcs: Any = None, args: Any = None, **kwargs: Any
    ) -> None:
        """Take what AsyncGRPOTrainer takes, with an AsyncMASPOConfig for `args`, or none: its defaults."""
        if args is None:
            args = AsyncMASPOConfig(f"{str(model).rstrip('/').split('/')[-1]}-AsyncMASPO")
        if not isinstance(args, AsyncMASPOConfig):
            raise InputError(f"args must be an AsyncMASPOConfig, not {type(args).__name__}")
        self._gate_log = GateLog()
        args.epsilon, args.epsilon_high = math.inf, math.inf  # TRL's clip is open
        with _any_device():
            super().__init__(model, reward_funcs, args, **kwargs)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train as AsyncGRPOTrainer does."""
        theirs = AttentionInterface()[TREE_ATTENTION] is tree_attention
        if theirs and self.accelerator.device.type != "cuda":
            raise InputError(
                "asynchronous training attends by FlashAttention 3, which needs an NVIDIA GPU: train there, "
                "or with MASPOTrainer, whose `staleness` draws rollouts by an older policy on any device"
            )
        return super().train(*args, **kwargs)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """Return the loss of the objective, divided as TRL divides, and TRL's auxiliary loss."""
        seen: Any = _Seen(model)
        with torch.no_grad():  # for what it logs; the model itself runs with its gradient
            super().compute_loss(seen, inputs, return_outputs, num_items_in_batch)
        policy, applied = self._policy_loss(seen.outputs, inputs)
        self._gate_log.add(applied.metrics())
        found = clip_ratios(applied, self._sum_over_processes, self.accelerator.gather)
        for name, ratio in found.items():
            self._metrics["train"][name][-1] = ratio
        loss = policy / self.current_gradient_accumulation_steps
        if self.aux_loss_enabled:
            aux = self.router_aux_loss_coef * seen.outputs.aux_loss
            loss = loss + aux / self.current_gradient_accumulation_steps
        return loss

    def _policy_loss(self, outputs: Any, inputs: Any) -> tuple[Tensor, Applied]:
        """Apply the objective to the loss terms of this process's row."""
        chosen = inputs["token_index"] >= 0
        places, sample = inputs["token_index"][chosen], inputs["segment_id"][chosen]
        mask, spread = _rectangle(sample)
        log_probs = spread(outputs.log_probs.flatten()[places])
        entropies = spread(outputs.entropy.flatten()[places].detach())
        sampler, advantages = (
            spread(inputs[name][chosen]) for name in ("old_log_probs", "advantages")
        )
        old, weights = sampler, None
        if self.args.correction is not None:
            weights = rollout_weights(log_probs.detach(), sampler, mask, **self.args.correction)
            old = sampler if self.args.rejects else log_probs.detach()
        batch = TokenBatch.clean(
            log_probs, old, advantages, mask, entropies, self._sum_over_processes
        )
        applied = apply_objective(self.args.objective, batch, weights)
        by_token = self.args.reduction == "token-mean"
        sequences = self._sum_over_processes(mask.any(1).sum().float())
        counted = inputs["global_n_tokens"][0] if by_token else sequences
        gain = reduce_tokens(
            applied.gain(log_probs),
            mask,
            str(self.args.reduction),
            # Gradients are averaged over processes, and the count is of them all.
            denominator=(counted / self.accelerator.num_processes).clamp(min=1.0),
            max_length=self._max_length,
        )
        return -gain, applied

    @property
    def _max_length(self) -> int | None:
        whole = self.args.reduction == "seq-mean-token-sum-norm"
        return self.args.max_completion_length if whole else None

    def _sum_over_processes(self, sums: Tensor) -> Tensor:
        total: Any = self.accelerator.reduce(sums, reduction="sum")
        return total

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the gate's metrics, pooled over micro-batches and processes, to the log."""
        logs |= self._gate_log.pop(self._sum_over_processes)
        super().log(logs, start_time)


@contextmanager
def _any_device() -> Iterator[None]:
    """Let the trainer be made without CUDA, which TRL asks for the peak of its FLOPs."""
    ask = async_grpo_trainer.get_peak_flops_per_device
    if not torch.cuda.is_available():
        async_grpo_trainer.get_peak_flops_per_device = lambda *_: None
    try:
        yield
    finally:
        async_grpo_trainer.get_peak_flops_per_device = ask


class _Seen:
    """A model that remembers what it returned, and shows TRL's arithmetic the same without gradient."""

    def __init__(self, model: Any) -> None:
        self.model, self.outputs = model, None

    def __call__(self, **inputs: Any) -> Any:
        with torch.enable_grad():
            self.outputs = self.model(**inputs)
        return self.outputs


def _rectangle(sample: Tensor) -> tuple[Tensor, Any]:
    """Lay the terms of samples, in order, out in rows: a mask `[samples, time]`, and what spreads a term."""
    lengths = torch.bincount(sample)
    starts = lengths.cumsum(0) - lengths
    column = torch.arange(len(sample), device=sample.device) - starts[sample]
    shape = len(lengths), int(lengths.max()) if len(lengths) else 0

    def spread(terms: Tensor) -> Tensor:
        return terms.new_zeros(shape).index_put((sample, column), terms)

    return spread(torch.ones_like(sample, dtype=torch.bool)), spread
