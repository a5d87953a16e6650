"""A run of the trainer: from a job to the trained model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback
from transformers.integrations import unset_hf_deepspeed_config
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import set_seed

from maspo.engines.engine import Sink, Trained, TrainingJob
from maspo.engines.trl.adapters import peft_config
from maspo.engines.trl.looks import Clock, Looks
from maspo.engines.trl.restored import remade
from maspo.engines.trl.rewards import reward_functions, rows_of
from maspo.engines.trl.sharding import trained_weights
from maspo.engines.trl.trainer import MASPOTrainer
from maspo.engines.trl.translate import trl_config
from maspo.models.adapter import merged_with_adapter
from maspo.recipes.schema import Recipe


def train(job: TrainingJob) -> Trained:
    """Train with `MASPOTrainer`; a line of metrics holds TRL's and ours."""
    recipe, lora = job.recipe, job.recipe.model.lora
    set_seed(recipe.seed)
    args = trl_config(recipe, job.folder, parameters=job.model.num_parameters(), strict=job.strict)
    clock = Clock()
    looks = Looks(job.look, job.every, recipe, clock)
    trainer = MASPOTrainer(
        job.model,
        reward_functions(job.rewards, job.problems),
        args,
        train_dataset=Dataset.from_list(rows_of(job.problems)),
        processing_class=job.tokenizer,
        callbacks=[_Lines(job.sink, clock), looks, _Stop(job.stop)],
        peft_config=peft_config(lora) if lora else None,
    )
    trainer.token_sink = job.tokens
    trainer.create_model_card = _no_card
    trainer.remove_callback(PrinterCallback)  # the sink shows what it would
    looks.trainer = trainer
    trainer.train(resume_from_checkpoint=None if job.resume is None else str(job.resume))
    seconds, steps = clock.seconds, trainer.state.global_step
    finished = steps == args.max_steps
    if trainer.is_fsdp_enabled or trainer._dist.is_zero3:
        if finished:
            looks.take(recipe.training.rollouts)
        return Trained(model=_made_whole(trainer, recipe), seconds=seconds, steps=steps)
    trained = trainer.accelerator.unwrap_model(trainer.model)
    if lora:
        trained = merged_with_adapter(trained)
    if finished:
        looks.take(recipe.training.rollouts, trained)
    return Trained(model=trained, seconds=seconds, steps=steps)


def _made_whole(trainer: MASPOTrainer, recipe: Recipe) -> Any:
    """Return, in the first process, a whole model with the trained weights; elsewhere what there is."""
    weights = trained_weights(trainer.model)
    unset_hf_deepspeed_config()  # or ZeRO-3 would deal out what one process loads
    return remade(recipe, weights) if trainer.is_world_process_zero() else trainer.model


def _no_card(*_: Any, **__: Any) -> None:
    """Leave the card of a run's model to the run, which knows where it came from and how good it is."""


class _Lines(TrainerCallback):
    """Hands every log line on, with its step and time."""

    def __init__(self, sink: Sink, clock: Clock) -> None:
        self.sink, self.clock = sink, clock

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.clock.start()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if state.is_world_process_zero and logs and "loss" in logs:
            self.sink({"step": state.global_step, "seconds": self.clock.seconds, **logs})


class _Stop(TrainerCallback):
    """Ends training with a checkpoint after the step in which a process was asked to stop."""

    def __init__(self, stop: Callable[[], bool]) -> None:
        self.stop = stop

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        asked: Any = torch.tensor(float(self.stop()), device=args.device)
        if args.world_size > 1:
            torch.distributed.all_reduce(asked)
        if asked:
            control.should_save = control.should_training_stop = True
