"""The tokens of a few updates of a run, kept for replay and pictures: safetensors in `tokens/`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from maspo import files
from maspo.core.batch import TokenBatch
from maspo.errors import InputError
from maspo.lab.run.folder import RunFolder
from maspo.recipes.schema import Recipe

FOLDER = "tokens"
MOST_TOKENS = 8192
"""Slots kept of one update; at 17 bytes a slot that is 140 kB."""


@dataclass(frozen=True, kw_only=True)
class SavedBatch:
    """The tokens of one micro-batch, as the objective saw them."""

    step: int
    """Optimizer steps taken before it."""
    batch: TokenBatch
    rows: int
    """Completions that are here ..."""
    rows_seen: int
    """... of those in the micro-batch whose log-probabilities were computed."""


class TokenSaver:
    """Keeps the micro-batches of the last update of some rollouts, spread over a run.

    Where they are large, evenly spaced completions are kept whole, so that an update takes no more
    than `MOST_TOKENS` slots, or one completion of each micro-batch.
    """

    def __init__(self, folder: RunFolder, recipe: Recipe) -> None:
        """Choose the updates; nothing is written before the first of them."""
        training = recipe.training
        count = min(training.save_tokens, training.rollouts)
        rollouts = [(i + 1) * training.rollouts // count for i in range(count)]
        self.steps = {rollout * training.updates_per_rollout - 1 for rollout in rollouts}
        self.micro_batches = recipe.completions_per_update // training.micro_batch
        self.folder, self.seen = folder, Counter[int]()

    def __call__(self, step: int, batch: TokenBatch, scored: Tensor) -> None:
        """Take a micro-batch of the update after `step` steps; `scored`, bool `[rows]`, marks its rows."""
        scored = scored & batch.mask.any(1)
        if step not in self.steps or not scored.any():
            return
        rows = scored.nonzero()[:, 0]
        columns = int(batch.mask[rows].any(0).nonzero()[-1]) + 1
        room = max(1, MOST_TOKENS // (self.micro_batches * columns))
        kept = rows[:: -(-len(rows) // room)]
        tensors = {
            name: value[kept, :columns].float().contiguous().cpu()
            for name, value in {
                "log_probs": batch.log_probs,
                "old_log_probs": batch.old_log_probs,
                "advantages": batch.advantages,
                "entropies": batch.entropies,
            }.items()
            if value is not None
        }
        tensors["mask"] = batch.mask[kept, :columns].contiguous().cpu()
        words = {"step": step, "rows": len(kept), "rows_seen": len(rows)}
        self._write(step, tensors, {key: str(value) for key, value in words.items()})

    def _write(self, step: int, tensors: dict[str, Tensor], words: dict[str, str]) -> None:
        (self.folder.path / FOLDER).mkdir(exist_ok=True)
        name = f"{step:06d}-{self.seen[step]}.safetensors"
        self.seen[step] += 1
        files.write_bytes(self.folder.path / FOLDER / name, save(tensors, metadata=words))


def has_tokens(run: Path) -> bool:
    """Whether a run folder holds saved tokens."""
    return any((run / FOLDER).glob("*.safetensors"))


def load_tokens(run: Path) -> list[SavedBatch]:
    """Read the saved tokens of a run, in the order of training; InputError where there are none."""
    if not run.is_dir():
        raise InputError(f"there is no folder {run}; give the folder that `maspo train` wrote")
    if not has_tokens(run):
        raise InputError(
            f"{run} holds no saved tokens; `maspo train --set training.save_tokens=8` keeps those of "
            "8 updates"
        )
    return [_load(path) for path in sorted((run / FOLDER).glob("*.safetensors"))]


def _load(path: Path) -> SavedBatch:
    try:
        with safe_open(path, framework="pt") as file:
            words = {key: int(value) for key, value in (file.metadata() or {}).items()}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return SavedBatch(batch=_batch(**tensors), **words)
    except (SafetensorError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a file of saved tokens, or damaged: {error}") from None


def _batch(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    entropies: Tensor | None = None,
) -> TokenBatch:
    return TokenBatch.clean(log_probs, old_log_probs, advantages, mask.to(torch.bool), entropies)
