"""GRPOTrainer whose training can be cut off anywhere and goes on as if it had not been.

Trainer saves weights, optimizer, scheduler and random generators. What it lacks for a resume that
leaves no trace is added here: the rollout in use, sums not logged yet, the order of later epochs,
a trained run that is not trained further, and checkpoints that are whole, checksummed or absent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.utils.data import Sampler
from transformers import TrainerState
from transformers.trainer_utils import TrainOutput
from trl import GRPOTrainer

from maspo.engines.trl import checkpoint
from maspo.errors import InputError, RunError
from maspo.files import read_json


class LastingTrainer(GRPOTrainer):
    """GRPOTrainer with checkpoints after any step, from which training goes on bit for bit.

    `train(resume_from_checkpoint=True)` takes the newest undamaged checkpoint of `output_dir`.
    """

    model: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what GRPOTrainer takes."""
        self._writing: Path | None = None
        self._epochs_before = 0
        self._to_restore: dict[str, Any] | None = None
        super().__init__(*args, **kwargs)

    # Writing

    def _get_output_dir(self, trial: Any) -> str:
        home = super()._get_output_dir(trial)
        return home if self._writing is None else str(self._writing)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        home = Path(super()._get_output_dir(trial))
        first = self.is_world_process_zero()
        if first:
            checkpoint.sweep(home)
        self.accelerator.wait_for_everyone()
        self._writing = home / checkpoint.WRITING
        written = self._writing / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
            torch.save(self._unlogged(), written / self._own_file)
            self.accelerator.wait_for_everyone()
            if first:
                checkpoint.publish(written, home / written.name)
        except (OSError, RuntimeError, SafetensorError) as error:
            raise _unwritable(home, self.state.global_step, error) from error
        finally:
            self._writing = None
        if first and self.args.save_total_limit:
            checkpoint.keep_last(home, self.args.save_total_limit)
        self.accelerator.wait_for_everyone()

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
            "completions": _plain(self._logs) if self.log_completions else {},
            "callbacks": {
                type(one).__name__: one.state_dict()
                for one in self.callback_handler.callbacks
                if hasattr(one, "state_dict")
            },
        }

    # Reading

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> TrainOutput:
        """Train as GRPOTrainer does; InputError where the checkpoint is damaged or absent."""
        if not resume_from_checkpoint:
            return super().train(**kwargs)
        place = self._place(resume_from_checkpoint)
        state = TrainerState.load_from_json(str(place / "trainer_state.json"))
        if 0 < self.args.max_steps <= state.global_step:  # Trainer would train on
            self._load_from_checkpoint(str(place))
            self.state = state
            return TrainOutput(state.global_step, float("nan"), {})
        return super().train(resume_from_checkpoint=str(place), **kwargs)

    def _place(self, given: str | bool) -> Path:
        if isinstance(given, str):
            return checkpoint.check(Path(given))
        place = checkpoint.last_good(Path(str(self.args.output_dir)))
        if place is None:
            raise InputError(f"{self.args.output_dir} holds no checkpoint to continue from")
        return place

    def _inner_training_loop(self, *args: Any, **kwargs: Any) -> TrainOutput:
        place = kwargs.get("resume_from_checkpoint")
        self._epochs_before, self._to_restore = 0, None
        if place is not None:
            self._epochs_before = int(_epochs(Path(place)))
            self._to_restore = torch.load(
                Path(place) / self._own_file,
                map_location=self.accelerator.device,
                weights_only=True,
            )
        return super()._inner_training_loop(*args, **kwargs)

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Sampler:
        """Draw the orders of the epochs that are over, as the sampler draws one for each epoch."""
        sampler: Any = super()._get_train_sampler(*args, **kwargs)
        for _ in range(self._epochs_before if sampler.shuffle else 0):
            torch.randperm(sampler.num_samples, generator=sampler.generator)
        return sampler

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self._to_restore is not None:
            self._restore(self._to_restore)
            self._to_restore = None
        super()._run_epoch(*args, **kwargs)

    def _restore(self, unlogged: dict[str, Any]) -> None:
        self._step = unlogged["micro_step"]
        self._buffered_inputs = unlogged["rollout"]
        self._metrics["train"].update(unlogged["metrics"])
        self._tr_loss = unlogged["loss"]
        self._globalstep_last_logged = unlogged["last_logged"]
        for name, kept in unlogged["completions"].items():
            _refill(self._logs[name], kept)
        for one in self.callback_handler.callbacks:
            if type(one).__name__ in unlogged["callbacks"]:
                one.load_state_dict(unlogged["callbacks"][type(one).__name__])

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Raise InputError where a checkpoint lacks weights: what Trainer only logs would retrain them."""
        tensors = self.model.state_dict()
        lost = set(load_result.missing_keys)
        there = {tensor.data_ptr() for name, tensor in tensors.items() if name not in lost}
        lost = {name for name in lost if tensors[name].data_ptr() not in there}  # others are tied
        wrong = sorted(lost | set(load_result.unexpected_keys))
        if wrong:
            raise InputError(f"the checkpoint is of another model: {wrong[0]} is not in both")


def _unwritable(home: Path, step: int, error: Exception) -> RunError:
    """Clean up, and say what became of a checkpoint that could not be written."""
    checkpoint.sweep(home)
    newest = checkpoint.last_good(home)
    left = f"{newest} is the newest" if newest else "there is none yet"
    reason = " ".join(str(error).split())
    return RunError(f"the checkpoint after step {step} could not be written, {left}: {reason}")


def _plain(logs: Any) -> Any:
    """Make dicts and lists of TRL's nested dicts and deques."""
    if isinstance(logs, dict):
        return {name: _plain(each) for name, each in logs.items()}
    return list(logs)


def _refill(log: Any, kept: Any) -> None:
    if isinstance(kept, dict):
        for name, each in kept.items():
            _refill(log[name], each)
    else:
        log.extend(kept)


def _epochs(place: Path) -> float:
    return read_json(place / "trainer_state.json")["epoch"]
