"""Which work of a rollout or an update changes nothing, and can be left out.

Stock TRL runs the model over padding, over a prompt once for every completion, over rows whose
coefficients are all zero, and once more over the rows of the first update to learn what that update
computes anyway. Here the rows that matter go through the model in passes by prompt or by length, each as
narrow as its longest row; the tensors TRL sees have the shape they had, with zeros where nothing was
computed, so its masks and normalisers are its own.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from maspo.engines.trl.handover import Batch
from maspo.engines.trl.passes import (
    ScorePass,
    TextRows,
    deal,
    deal_together,
    plan_passes,
    score_passes,
    widths,
)
from maspo.engines.trl.positions import forward_of
from maspo.engines.trl.prefix_check import PrefixCheck
from maspo.engines.trl.shared_prefix import RowScores, ScoreRows, score_shared
from maspo.errors import InputError

log = logging.getLogger(__name__)

TEXT = {
    "prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages", "tool_mask",
    "num_items_in_batch", "old_per_token_logps", "ref_per_token_logps", "sampling_per_token_logps",
    "importance_sampling_ratio", "rollout_weights",
}  # fmt: skip
"""What a batch of text holds; with anything else, such as images, rows are left where they are."""


class ComputeSaving:
    """The savings of MASPOConfig but for group decoding, for one trainer."""

    def __init__(self, trainer: Any) -> None:
        """Take a GRPOTrainer that is made."""
        args = trainer.args
        self.args, self.accelerator = args, trainer.accelerator
        self.prefixes = PrefixCheck(half=trainer.accelerator.mixed_precision in ("bf16", "fp16"))
        sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
        if args.share_prefix and sharded and trainer.accelerator.is_main_process:
            log.warning("Prompts are not shared under FSDP and DeepSpeed.")
        self.may_share = bool(args.share_prefix and not sharded)
        """Whether a part of the model may be run outside the wrappers of the trainer."""
        self.window = args.gradient_accumulation_steps
        self.micro_batches = args.steps_per_generation
        """Micro-batches of a rollout."""
        self.whole_updates = self.micro_batches % self.window == 0
        self.several_processes = trainer.accelerator.num_processes > 1
        self.micro_batches_matter = bool(
            args.objective.couples_batch
            or args.match_norm is not None
            or trainer._entropy_bonus_enabled
            or trainer.aux_loss_enabled
            or trainer.top_entropy_quantile < 1.0
        )
        """Whether the loss of a row depends on the others of its micro-batch."""
        self.old_policy_may_wait = bool(
            args.reuse_first_forward
            and not trainer.use_vllm
            and not args.staleness
            and self.whole_updates
            and self.micro_batches > self.window
            and trainer.num_iterations == 1
        )
        """Whether old log-probabilities are the current policy's and for the loss alone, updates whole."""
        self.saves = bool(args.trim_padding or args.skip_dead_rows or self.may_share)
        """Whether passes are other than TRL's."""
        self.rows_may_move = bool(
            args.trim_padding
            and self.window > 1
            and self.whole_updates
            and trainer.loss_type != "bnpo"
            and not self.micro_batches_matter
        )
        """Whether the loss of an update of text is the same however its rows are dealt out."""
        self.all_rows_matter = bool(
            trainer.beta
            or self.micro_batches_matter
            or args.objective.needs_dead_rows
            or not args.skip_dead_rows
        )

    def rows_that_matter(self, inputs: Mapping[str, Any], *, training: bool) -> Tensor:
        """Mark the rows whose loss has a gradient, bool `[rows]`; all where that cannot be known."""
        rows = inputs["completion_mask"].any(1)
        if self.all_rows_matter or not training:
            return torch.ones_like(rows)
        return rows & (inputs["advantages"].view(len(rows), -1) != 0).any(1)

    def deal(self, buffered: list[Batch]) -> None:
        """Deal the rows of a rollout anew: those of a prompt into one update, those of an update by length.

        Raises InputError where groups are needed and there is more than text.
        """
        text = set(buffered[0]) <= {*TEXT, "groups"}
        if self.args.needs_groups:
            if not text:
                raise InputError(f"{self.args.objective.title} needs whole groups, and text alone")
            buffered[:] = deal_together(buffered)
        elif text and self.args.trim_padding:
            buffered[:] = deal_together(buffered)
            if self.rows_may_move:
                self._deal_updates(buffered)

    def _deal_updates(self, buffered: list[Batch]) -> None:
        """Deal the rows of each update to its micro-batches anew, which changes no loss."""
        for start in range(0, len(buffered), self.window):
            window = buffered[start : start + self.window]
            live = torch.cat([self.rows_that_matter(batch, training=True) for batch in window])
            buffered[start : start + self.window] = deal(window, live, share=self.may_share)

    def score(
        self, score: ScoreRows, model: Any, text: TextRows, live: Tensor | None, most_rows: int
    ) -> tuple[Tensor, Tensor | None]:
        """Score the rows of which those in `live` matter, in the passes that cost least.

        Returns log-probabilities and entropies, `[rows, completion columns]`, with zeros where
        nothing was computed. `score` is TRL's own, and `model` as the trainer wraps it.
        """
        bare = self.accelerator.unwrap_model(model)

        def plain(part: TextRows, model: Any = model) -> RowScores:
            return score(forward_of(model, bare), part.ids, part.mask, part.completion)[:2]

        def shared(part: TextRows, model: Any = model) -> RowScores:
            with self.accelerator.autocast():
                return score_shared(score, forward_of(model, bare), bare, part)[:2]

        share = self.may_share and self.prefixes.admits(bare)
        passes = self._plan(text, live, most_rows, share)
        first = next((one for one in passes if one.shares), None)
        if first is not None and not self.prefixes.agrees(
            bare, text, first, partial(plain, model=bare), partial(shared, model=bare)
        ):
            passes = self._plan(text, live, most_rows, share=False)
        return score_passes(lambda part, shares: (shared if shares else plain)(part), text, passes)

    def _plan(
        self, text: TextRows, live: Tensor | None, most_rows: int, share: bool
    ) -> list[ScorePass]:
        lengths = widths(text.mask, text.completion)
        live = torch.ones_like(lengths[:, 0]).bool() if live is None else live
        if not self.args.trim_padding:
            lengths = lengths.new_tensor([text.prompt, text.completion]).expand_as(lengths)
        fixed = -(-len(lengths) // most_rows) if self.several_processes else None
        prompts = text.prompts() if share else None
        return plan_passes(lengths, live, most_rows=most_rows, fixed=fixed, prompts=prompts)

    def count_skipped(
        self, mask: Tensor, live: Tensor, metrics: dict[str, list[float]], accelerator: Any
    ) -> None:
        """Log the share of rows that were skipped, and take TRL's mean entropy over the others."""
        if not self.args.skip_dead_rows:
            return
        tokens = mask.sum(1)
        sums = torch.stack([tokens.sum(), tokens[live].sum(), (~live).sum(), live.sum()]).float()
        all_tokens, live_tokens, dead, alive = accelerator.reduce(sums, reduction="sum").tolist()
        metrics["maspo/rows_skipped"].append(dead / (dead + alive))
        share = live_tokens / all_tokens if all_tokens else 1.0
        metrics["entropy"][-1] = metrics["entropy"][-1] / share if share else math.nan
