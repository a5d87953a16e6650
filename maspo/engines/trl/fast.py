"""GRPOTrainer without the work that changes nothing.

Stock TRL runs the model over padding, over rows whose coefficients are all zero, and once more over
the rows of the first update to learn what that update computes anyway. Here the rows that matter go
through the model in passes of like length, each as narrow as its longest row; the tensors TRL sees
have the shape they had, with zeros where nothing was computed, so its masks and normalisers are its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing

from maspo.engines.trl.config import MASPOConfig
from maspo.engines.trl.passes import Pass, deal, plan_passes, score_passes, widths
from maspo.engines.trl.positions import takes_positions, with_positions

Batch = dict[str, Any]

PLAIN = {
    "prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages", "tool_mask",
    "num_items_in_batch", "old_per_token_logps", "ref_per_token_logps", "sampling_per_token_logps",
    "importance_sampling_ratio",
}  # fmt: skip
"""What a batch of text holds; with anything else, such as images, rows are left where they are."""


class FastTrainer(GRPOTrainer):
    """GRPOTrainer with `skip_dead_rows`, `trim_padding` and `reuse_first_forward` of MASPOConfig."""

    args: MASPOConfig
    model: Any
    _buffered_inputs: list[Batch] | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what GRPOTrainer takes, with a MASPOConfig for `args`."""
        self._live: Tensor | None = None
        self._put_off = self._old_is_missing = False
        super().__init__(*args, **kwargs)

    @property
    def _steps(self) -> int:
        """Micro-batches of a rollout."""
        steps: Any = self.args.steps_per_generation
        return steps

    # The rollout

    def _prepare_inputs(self, generation_batch: Any) -> Batch:
        every = self._steps * self.num_iterations
        new = self._step % every == 0 or self._buffered_inputs is None
        inputs: Any = super()._prepare_inputs(generation_batch)
        if not (new and self.model.training and self._buffered_inputs):
            return inputs
        if self._rows_may_move(inputs):
            self._deal_by_length(self._buffered_inputs)
        if self._old_is_missing:
            self._old_is_missing = False
            self._score_old_policy(self._buffered_inputs)
        return self._buffered_inputs[self._step % self._steps]

    def _generate_and_score_completions(self, inputs: Any) -> Batch:
        self._put_off = self._old_policy_can_wait()
        output: Any = super()._generate_and_score_completions(inputs)
        self._put_off = False
        return output

    def _old_policy_can_wait(self) -> bool:
        """Whether old log-probabilities are for the loss alone, and windows of updates are whole."""
        window = self.args.gradient_accumulation_steps
        whole = self._steps % window == 0 and self._steps > window
        own = self.args.reuse_first_forward and not self.use_vllm
        return bool(own and whole and self.num_iterations == 1 and self.model.training)

    def _rows_may_move(self, inputs: Batch) -> bool:
        """Whether the loss of an update is the same however its rows are dealt to micro-batches."""
        return (
            self.args.trim_padding
            and self.args.gradient_accumulation_steps > 1
            and self._steps % self.args.gradient_accumulation_steps == 0
            and self.loss_type != "bnpo"
            and not self._micro_batches_matter()
            and set(inputs) <= PLAIN
        )

    def _micro_batches_matter(self) -> bool:
        return bool(
            self.args.objective.couples_batch
            or self._entropy_bonus_enabled
            or self.aux_loss_enabled
            or self.top_entropy_quantile < 1.0
        )

    def _deal_by_length(self, buffered: list[Batch]) -> None:
        size = self.args.gradient_accumulation_steps
        for start in range(0, len(buffered), size):
            window = buffered[start : start + size]
            live = torch.cat([self._rows_that_matter(batch) for batch in window])
            buffered[start : start + size] = deal(window, live)

    def _score_old_policy(self, buffered: list[Batch]) -> None:
        """Compute the old log-probabilities that were put off: those of the updates after the first."""
        first = self.args.gradient_accumulation_steps
        for batch in buffered[:first]:
            del batch["old_per_token_logps"]  # its own, as TRL has it where all is on-policy
        later = buffered[first:]
        ids, mask = (
            torch.cat([torch.cat([b[f"prompt_{x}"], b[f"completion_{x}"]], dim=1) for b in later])
            for x in ("ids", "mask")
        )
        self._live = torch.cat([self._rows_that_matter(batch) for batch in later])
        checkpointing: Any = self.args.gradient_checkpointing_kwargs
        with (
            torch.no_grad(),
            disable_gradient_checkpointing(self.model, checkpointing),
        ):
            scored, _, _ = self._get_per_token_logps_and_entropies(
                self.model,
                ids,
                mask,
                later[0]["completion_ids"].size(1),
                batch_size=self.args.per_device_train_batch_size,
            )
        self._live = None
        for batch, part in zip(later, scored.chunk(len(later)), strict=True):
            batch["old_per_token_logps"] = part

    # The loss

    def _compute_loss(self, model: Any, inputs: Batch) -> Tensor:
        self._live = live = self._rows_that_matter(inputs)
        try:
            loss = super()._compute_loss(model, inputs)
        finally:
            self._live = None
        if self.args.skip_dead_rows:
            self._count_skipped(inputs, live)
        return loss

    def _rows_that_matter(self, inputs: Mapping[str, Any]) -> Tensor:
        """Mark the rows whose loss has a gradient, bool `[rows]`; all where that cannot be known."""
        rows = inputs["completion_mask"].any(1)
        needed = self.beta or self._micro_batches_matter() or self.args.objective.needs_dead_rows
        if needed or not self.args.skip_dead_rows or not self.model.training:
            return torch.ones_like(rows)
        advantages = inputs["advantages"]
        return rows & (advantages.view(len(rows), -1) != 0).any(1)

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **extras: Any,
    ) -> Any:
        text_only = all(value is None for value in extras.values())
        if self._put_off and model is self.model:
            # The policy is scored first, the reference after it. What was seen beside the text is
            # not kept in one piece, so that only a pass over text can be made up for later.
            self._put_off, self._old_is_missing = False, text_only
            if text_only:
                zeros = input_ids.new_zeros(len(input_ids), logits_to_keep, dtype=torch.float32)
                return zeros, None, None
        score = super()._get_per_token_logps_and_entropies
        if text_only and takes_positions(self.accelerator.unwrap_model(model)):
            model = with_positions(model)
        plain = text_only and not compute_aux_loss
        if not (plain and (self.args.trim_padding or self.args.skip_dead_rows)):
            return score(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy,
                compute_aux_loss, **extras,
            )  # fmt: skip
        passes = self._plan(attention_mask, logits_to_keep, batch_size or len(input_ids))
        log_probs, entropies = score_passes(
            partial(score, model, compute_entropy=compute_entropy),
            input_ids,
            attention_mask,
            logits_to_keep,
            passes,
        )
        return log_probs, entropies, None

    def _plan(self, attention_mask: Tensor, columns: int, most_rows: int) -> list[Pass]:
        lengths = widths(attention_mask, columns)
        live = torch.ones_like(lengths[:, 0]).bool() if self._live is None else self._live
        if not self.args.trim_padding:
            whole = attention_mask.size(1) - columns, columns
            lengths = lengths.new_tensor(whole).expand_as(lengths)
        several = self.accelerator.num_processes > 1
        fixed = -(-len(lengths) // most_rows) if several else None
        return plan_passes(lengths, live, most_rows=most_rows, fixed=fixed)

    def _count_skipped(self, inputs: Batch, live: Tensor) -> None:
        """Log the share of rows that were skipped, and take the mean entropy over the others."""
        mask = inputs["completion_mask"]
        mask = mask * inputs["tool_mask"] if "tool_mask" in inputs else mask
        tokens = mask.sum(1)
        sums: Any = self.accelerator.reduce(
            torch.stack([tokens.sum(), tokens[live].sum(), (~live).sum(), live.sum()]).float(),
            reduction="sum",
        )
        all_tokens, live_tokens, dead, alive = sums.tolist()
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics["maspo/rows_skipped"].append(dead / (dead + alive))
        share = live_tokens / all_tokens if all_tokens else 1.0
        metrics["entropy"][-1] = metrics["entropy"][-1] / share if share else float("nan")
