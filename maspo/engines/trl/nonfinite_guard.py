"""Leaves out an update whose numbers went wrong, and stops training where that does not help."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any, NoReturn

import torch
from trl import GRPOTrainer

from maspo.engines.trl.checkpoint import last_good
from maspo.engines.trl.handover import Batch
from maspo.engines.trl.sharding import broken_weights
from maspo.errors import RunError

MOST_IN_A_ROW = 5
"""Updates left out in a row, at which training stops."""

MOST_REPORTS = 20
"""Updates left out whose samples are written down, in each process."""

_SCORE = tuple(inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies).parameters)
BESIDE_TEXT = _SCORE[_SCORE.index("compute_aux_loss") + 1 :]
"""What a model of images takes beside the text, by TRL's names."""

_KEPT = (
    "prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages", *BESIDE_TEXT,
)  # fmt: skip


class NonfiniteGuard:
    """Keeps the weights of a trainer finite: see `maspo/update_skipped` in its log.

    Raises RunError after `MOST_IN_A_ROW` updates without a finite gradient, and where weights are not
    finite; the samples of updates that were left out are under `not-finite/` in `output_dir`.
    """

    def __init__(self, trainer: Any) -> None:
        """Take a GRPOTrainer that is made."""
        self.trainer = trainer
        self.update: list[Batch] = []
        """The micro-batches since the last optimizer step."""
        self.in_a_row = 0
        """Updates left out since the last one that was not."""

    def watch(self, inputs: Batch) -> None:
        """Keep a micro-batch of the update under way, to write down if its gradient fails."""
        self.update.append({name: inputs[name] for name in _KEPT if name in inputs})

    def judge(self, model: Any, norm: Any) -> None:
        """Forget a gradient whose norm is not finite, so that the optimizer passes all weights by."""
        update, self.update = self.update, []
        if self.trainer.accelerator.scaler is not None:  # float16: it skips steps to find its scale
            return
        skipped = not bool(torch.isfinite(torch.as_tensor(norm)))
        self.trainer._metrics["train"]["maspo/update_skipped"].append(float(skipped))
        self.in_a_row = self.in_a_row + 1 if skipped else 0
        if skipped:
            model.zero_grad(set_to_none=True)
            place = self._write_down(update)
            if self.in_a_row >= MOST_IN_A_ROW:
                self.give_up(
                    f"{self.in_a_row} updates in a row had a gradient that is not finite, "
                    f"their samples are in {place.parent}"
                )

    def check_weights(self) -> None:
        """Raise RunError where a weight is not finite."""
        name = broken_weights(self.trainer.model)
        if name is not None:
            self.give_up(f"the weights {name} are not finite")

    def give_up(self, what: str) -> NoReturn:
        """Raise RunError: what happened, which checkpoint is from before, and what helps."""
        args, state = self.trainer.args, self.trainer.state
        place = last_good(Path(args.output_dir))
        left = f"{place} is from before" if place else "there is no checkpoint from before"
        raise RunError(
            f"training stopped at step {state.global_step}: {what}; {left}; "
            f"{args.objective.when_unstable}"
        )

    def _write_down(self, update: list[Batch]) -> Path:
        """Write the samples of an update that was left out, those first whose log-probabilities fail."""
        folder = Path(self.trainer.args.output_dir) / "not-finite"
        index = self.trainer.accelerator.process_index
        place = folder / f"step-{self.trainer.state.global_step + 1}-process-{index}.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        if (
            len(list(folder.glob(f"*-process-{index}.jsonl"))) >= MOST_REPORTS
        ):  # as in every process
            return place
        rows = [row for batch in update for row in self._describe(batch)]
        rows.sort(key=lambda row: row["finite"])
        text = "".join(json.dumps(row) + "\n" for row in rows)
        place.write_text(text, encoding="utf-8")
        return place

    @torch.no_grad()
    def _describe(self, batch: Batch) -> list[dict[str, Any]]:
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        columns = batch["completion_ids"].size(1)
        seen = {name: batch[name] for name in BESIDE_TEXT if name in batch}
        score = self.trainer._get_per_token_logps_and_entropies
        log_probs = score(self.trainer.model, ids, mask, columns, **seen)[0]
        kept = batch["completion_mask"].bool()
        lowest = log_probs.masked_fill(~kept, 0).amin(1)
        finite = (log_probs.isfinite() | ~kept).all(1)
        decode = self.trainer.processing_class.batch_decode
        rows = zip(
            decode([row[on.bool()] for row, on in zip(ids, mask, strict=True)]),
            batch["advantages"].reshape(len(ids), -1)[:, 0].tolist(),
            kept.sum(1).tolist(),
            lowest.tolist(),
            finite.tolist(),
            strict=True,
        )
        names = ("text", "advantage", "tokens", "lowest_log_prob", "finite")
        return [dict(zip(names, row, strict=True)) for row in rows]
