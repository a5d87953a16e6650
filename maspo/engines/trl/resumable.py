"""GRPOTrainer whose training can be cut off anywhere and goes on as if it had not been.

Trainer saves weights, optimizer, scheduler and random generators. What it lacks for a resume that
leaves no trace is added here: the rollout in use, sums not logged yet, the order of later epochs,
a trained run that is not trained further, and checkpoints that are whole, checksummed or absent.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Sampler
from transformers import TrainerState
from transformers.trainer_utils import TrainOutput
from trl import GRPOTrainer

from maspo.engines.trl import checkpoint, weights
from maspo.engines.trl.callbacks import RememberingCallback
from maspo.engines.trl.portable import portable
from maspo.errors import InputError, RunError


@dataclass
class ResumePoint:
    """What is to be restored once training goes on: from `_inner_training_loop` to its first epoch."""

    epochs: int
    """Whole epochs that are over."""
    unlogged: dict[str, Any]
    """What `ResumableTrainer._unlogged` gathered."""


class ResumableTrainer(GRPOTrainer):
    """GRPOTrainer with checkpoints after any step, from which training goes on bit for bit.

    `train(resume_from_checkpoint=True)` takes the newest undamaged checkpoint of `output_dir`.
    """

    model: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what GRPOTrainer takes."""
        self._writing: Path | None = None
        """Where a checkpoint is being written, before it gets its name."""
        self._resume: ResumePoint | None = None
        super().__init__(*args, **kwargs)

    # Writing

    def _get_output_dir(self, trial: Any) -> str:
        home = super()._get_output_dir(trial)
        return home if self._writing is None else str(self._writing)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        home = Path(super()._get_output_dir(trial))
        place = home / f"checkpoint-{self.state.global_step}"
        first = self.is_world_process_zero()
        if first:
            checkpoint.sweep(home)
        self.accelerator.wait_for_everyone()
        self._writing = home / checkpoint.STAGING
        written = self._writing / place.name
        try:
            super()._save_checkpoint(model, trial)
            self._give_final_names(place, written)
            torch.save(self._unlogged(), written / self._own_file)
            self.accelerator.wait_for_everyone()
            if first:
                checkpoint.publish(written, place)
        except (OSError, RuntimeError, SafetensorError) as error:
            if not _is_of_the_disk(error):
                raise
            raise _unwritable(home, self.state.global_step, error) from error
        finally:
            self._writing = None
        if self.args.push_to_hub:
            self._push_from_checkpoint(str(place))
        if first and self.args.save_total_limit:
            best = self.state.best_model_checkpoint
            checkpoint.keep_last(home, self.args.save_total_limit, Path(best) if best else None)
        self.accelerator.wait_for_everyone()

    def _give_final_names(self, place: Path, written: Path) -> None:
        """Name the best checkpoint in the state, and in the state that was written, as it will be named."""
        best = place.with_name(f"checkpoint-{self.state.best_global_step}")
        if best == place or best.exists():
            self.state.best_model_checkpoint = str(best)
        if self.args.should_save:
            self.state.save_to_json(str(written / checkpoint.STATE))

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Upload a checkpoint once it is whole and has its name, not while it is written."""
        if self._writing is None:
            super()._push_from_checkpoint(checkpoint_folder)

    @property
    def _own_file(self) -> str:
        return f"rollout_{self.accelerator.process_index}.pt"

    def _unlogged(self) -> dict[str, Any]:
        """Gather what this process would otherwise forget, of types that `weights_only` loads."""
        every = self.args.steps_per_generation * self.num_iterations  # type: ignore[operator]
        return {
            "micro_step": self._step,
            "rollout": self._buffered_inputs if self._step % every else None,
            "metrics": {name: list(values) for name, values in self._metrics["train"].items()},
            "loss": self._tr_loss,
            "last_logged": self._globalstep_last_logged,
            "completions": self._completions_not_logged(),
            "callbacks": [(type(one).__name__, one.state_dict()) for one in self._remembering()],
        }

    def _completions_not_logged(self) -> dict[str, Any]:
        lost: set[str] = set()
        kept = portable(self._logs, lost) if self.log_completions else {}
        if lost:
            warnings.warn(
                f"values of type {', '.join(sorted(lost))} in the completions to be logged are not kept in "
                "checkpoints: after a resume from this one they are logged as missing",
                stacklevel=2,
            )
        return kept

    def _remembering(self) -> list[RememberingCallback]:
        callbacks = self.callback_handler.callbacks
        return [one for one in callbacks if isinstance(one, RememberingCallback)]

    # Reading

    def train(
        self,
        resume_from_checkpoint: str | Path | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> TrainOutput:
        """Train as GRPOTrainer does; InputError where the checkpoint is damaged or absent."""
        if not resume_from_checkpoint:
            return super().train(None, trial, ignore_keys_for_eval)
        place = self._place(resume_from_checkpoint)
        state = TrainerState.load_from_json(str(place / checkpoint.STATE))
        if 0 < self.args.max_steps <= state.global_step:  # Trainer would train on
            self._load_from_checkpoint(str(place))
            self.model.to(self.args.device)  # where it was to be dealt out it lies on the CPU yet
            self.state = state
            return TrainOutput(state.global_step, float("nan"), {})
        return super().train(str(place), trial, ignore_keys_for_eval)

    def _place(self, given: str | Path | bool) -> Path:
        if given is not True:
            place = checkpoint.check_checkpoint(Path(str(given)))
        else:
            output = Path(str(self.args.output_dir))
            place = checkpoint.last_good(output)
            if place is None:
                raise InputError(checkpoint.why_none(output))
        if not (place / self._own_file).exists():
            raise InputError(f"{place} was written by fewer processes than are running now")
        dealt_out = {"FSDP": self.is_fsdp_enabled, "DeepSpeed": self.is_deepspeed_enabled}
        checkpoint.check_form(place, next((name for name, on in dealt_out.items() if on), None))
        return place

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Load both, but keep the learning rate that is asked for now and the schedule's present length."""
        scheduler: Any = self.lr_scheduler
        asked = list(scheduler.base_lrs) if isinstance(scheduler, LambdaLR) else []
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None or not asked:
            return
        rates = [
            base * share(scheduler.last_epoch)
            for base, share in zip(asked, scheduler.lr_lambdas, strict=True)
        ]
        scheduler.base_lrs, scheduler._last_lr = asked, rates
        for group, base, rate in zip(scheduler.optimizer.param_groups, asked, rates, strict=True):
            group["initial_lr"], group["lr"] = base, rate

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load weights as Trainer does, or as `from_pretrained` where their names differ."""
        if not self._load_renamed(resume_from_checkpoint, self.model if model is None else model):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        best: Any = self.state.best_model_checkpoint
        if not self._load_renamed(best, self.model):
            super()._load_best_model()

    def _load_renamed(self, place: str, model: Any) -> bool:
        """Load weights whose names differ from the model's; return whether they did.

        Raises InputError where a weight is missing: what Trainer only logs would retrain it.
        """
        spread = self.is_fsdp_enabled or self.is_deepspeed_enabled
        if spread or not weights.are_renamed(model, Path(place)):
            return False
        weights.load_renamed(model, Path(place))
        return True

    def _inner_training_loop(self, *args: Any, **kwargs: Any) -> TrainOutput:
        place = kwargs.get("resume_from_checkpoint")
        self._resume = None
        if place is not None:
            here = self.accelerator.device
            unlogged = torch.load(
                Path(place) / self._own_file,
                map_location="cpu" if here.type == "cpu" else here,  # one of several is cpu:0
                weights_only=True,
            )
            self._resume = ResumePoint(epochs=int(_epochs(Path(place))), unlogged=unlogged)
        return super()._inner_training_loop(*args, **kwargs)

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Sampler:
        """Draw the orders of the epochs that are over, as the sampler draws one for each epoch."""
        sampler: Any = super()._get_train_sampler(*args, **kwargs)
        epochs = self._resume.epochs if self._resume is not None and sampler.shuffle else 0
        for _ in range(epochs):
            torch.randperm(sampler.num_samples, generator=sampler.generator)
        return sampler

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self._resume is not None:
            self._restore(self._resume.unlogged)
            self._resume = None
        super()._run_epoch(*args, **kwargs)

    def _restore(self, unlogged: dict[str, Any]) -> None:
        self._step = unlogged["micro_step"]
        self._buffered_inputs = unlogged["rollout"]
        self._metrics["train"].update(unlogged["metrics"])
        self._tr_loss = unlogged["loss"]
        self._globalstep_last_logged = unlogged["last_logged"]
        for name, kept in unlogged["completions"].items():
            _refill(self._logs[name], kept)
        states = list(unlogged["callbacks"])
        for one in self._remembering():
            mine = next((pair for pair in states if pair[0] == type(one).__name__), None)
            if mine is not None:
                states.remove(mine)
                one.load_state_dict(mine[1])


def _is_of_the_disk(error: Exception) -> bool:
    """Whether a checkpoint failed on its way to the disk, which torch reports as a RuntimeError too."""
    return not isinstance(error, RuntimeError) or "inline_container" in str(error)


def _unwritable(home: Path, step: int, error: Exception) -> RunError:
    """Clean up, and say what became of a checkpoint that could not be written."""
    checkpoint.sweep(home)
    newest = checkpoint.last_good(home)
    left = f"{newest} is the newest" if newest else "there is none yet"
    reason = " ".join(str(error).split())
    return RunError(f"the checkpoint after step {step} could not be written, {left}: {reason}")


def _refill(log: Any, kept: Any) -> None:
    if isinstance(kept, dict):
        for name, each in kept.items():
            _refill(log[name], each)
    else:
        log.extend(kept)


def _epochs(place: Path) -> float:
    return json.loads((place / checkpoint.STATE).read_text(encoding="utf-8"))["epoch"]
