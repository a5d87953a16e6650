"""GRPOTrainer that leaves out an update whose numbers went wrong, and stops where that does not help."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer

from maspo.engines.trl.checkpoint import last_good
from maspo.errors import InputError, RunError

MOST_IN_A_ROW = 5
"""Updates left out in a row, at which training stops."""

MOST_REPORTS = 20
"""Updates left out whose samples are written down."""

_ROWS = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages")

_score = inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies).parameters
BESIDE_TEXT = tuple(_score)[tuple(_score).index("compute_aux_loss") + 1 :]
"""What a model of images takes beside the text, by TRL's names."""

_KEPT = (*_ROWS, *BESIDE_TEXT)


class GuardedTrainer(GRPOTrainer):
    """GRPOTrainer whose weights stay finite: see `maspo/update_skipped` in its log.

    Raises RunError after `MOST_IN_A_ROW` updates without a finite gradient, and where weights are not
    finite; the samples of updates that were left out are under `not-finite/` in `output_dir`. Raises
    InputError where a reward function fails.
    """

    args: Any
    model: Any
    processing_class: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what GRPOTrainer takes."""
        self._update: list[dict[str, Any]] = []
        self._in_a_row = 0
        super().__init__(*args, **kwargs)

    def _compute_loss(self, model: Any, inputs: Any) -> Tensor:
        if self.model.training:
            self._update.append({name: inputs[name] for name in _KEPT if name in inputs})
        return super()._compute_loss(model, inputs)

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Forget a gradient that is not finite, so that the optimizer passes all parameters by."""
        norm: Any = super()._get_grad_norm(model, grad_norm)
        update, self._update = self._update, []
        if self.accelerator.scaler is not None:  # float16: it skips such steps to find its scale
            return norm
        skipped = not bool(torch.isfinite(torch.as_tensor(norm)))
        self._metrics["train"]["maspo/update_skipped"].append(float(skipped))
        self._in_a_row = self._in_a_row + 1 if skipped else 0
        if skipped:
            model.zero_grad(set_to_none=True)
            place = self._write_down(update)
            if self._in_a_row >= MOST_IN_A_ROW:
                self._give_up(
                    f"{self._in_a_row} updates in a row had a gradient that is not finite, "
                    f"their samples are in {place.parent}"
                )
        return norm

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self._in_a_row:  # the newest checkpoint stays one from before
            return
        self._check_weights()
        super()._save_checkpoint(model, trial)

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        self._check_weights()
        try:
            return super()._generate_and_score_completions(inputs)
        except FloatingPointError as error:
            self._give_up(f"sampling failed: {error}")

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, *rest: Any) -> Tensor:
        try:
            return super()._calculate_rewards(inputs, prompts, completions, *rest)
        except InputError:
            raise
        except Exception as error:
            names = " or ".join(self.reward_func_names)
            raise InputError(
                f"the reward function {names} failed with {type(error).__name__}: {error}; it was given "
                f"{len(completions)} completions, the first of them {shown(completions[0])} to "
                f"{shown(prompts[0])}"
            ) from error

    def _check_weights(self) -> None:
        for name, weights in self.model.named_parameters():
            if weights.requires_grad and not bool(torch.isfinite(weights.detach()).all()):
                self._give_up(f"the weights {name} are not finite")

    def _give_up(self, what: str) -> Any:
        place = last_good(Path(self.args.output_dir))
        left = f"{place} is from before" if place else "there is no checkpoint from before"
        raise RunError(
            f"training stopped at step {self.state.global_step}: {what}; {left}; "
            f"{self.args.objective.when_unstable}"
        )

    def _write_down(self, update: list[dict[str, Any]]) -> Path:
        """Write the samples of an update that was left out, those first whose log-probabilities fail."""
        folder = Path(self.args.output_dir) / "not-finite"
        index = self.accelerator.process_index
        place = folder / f"step-{self.state.global_step + 1}-process-{index}.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        if len(list(folder.iterdir())) >= MOST_REPORTS:
            return place
        rows = [row for batch in update for row in self._describe(batch)]
        rows.sort(key=lambda row: row["finite"])
        text = "".join(json.dumps(row) + "\n" for row in rows)
        place.write_text(text, encoding="utf-8")
        return place

    @torch.no_grad()
    def _describe(self, batch: dict[str, Any]) -> list[dict[str, Any]]:
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        columns = batch["completion_ids"].size(1)
        seen = {name: batch[name] for name in BESIDE_TEXT if name in batch}
        log_probs = self._get_per_token_logps_and_entropies(self.model, ids, mask, columns, **seen)[
            0
        ]
        kept = batch["completion_mask"].bool()
        lowest = log_probs.masked_fill(~kept, 0).amin(1)
        finite = (log_probs.isfinite() | ~kept).all(1)
        decode = self.processing_class.batch_decode
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


def shown(text: Any) -> str:
    """Write a prompt or a completion short enough for a sentence."""
    content = text if isinstance(text, str) else text[-1]["content"]
    return repr(content if len(content) <= 200 else content[:200] + "...")
