"""From a recipe to TRL's settings and a finished run of the trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback
from transformers.integrations import get_available_reporting_integrations
from transformers.trainer_utils import set_seed

from maspo.data import Problem
from maspo.engines.engine import Sink, TokenSink, Trained
from maspo.engines.moment import Look
from maspo.engines.trl.config import LOSS_TYPES, MASPOConfig
from maspo.engines.trl.extras import refuse_extras
from maspo.engines.trl.looks import Clock, Looks
from maspo.engines.trl.past import check_budget
from maspo.engines.trl.rewards import reward_functions, rows_of
from maspo.engines.trl.trainer import MASPOTrainer
from maspo.errors import InputError, RunError
from maspo.models.device import best_device
from maspo.recipes.schema import Lora, Recipe, check_division
from maspo.rewards import RewardSet

BFLOAT16_FROM = 10_000_000
"""Parameters from which a CPU with bfloat16 uses it; measured: even at 5M, a third faster at 27M and 135M."""


def in_bfloat16(precision: str, parameters: int) -> bool:
    """Decide whether a model of so many parameters is trained under autocast to bfloat16."""
    if precision != "auto":
        return precision == "bfloat16"
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    able = torch.cpu.get_capabilities().get("avx512_bf16", False)
    return able and parameters >= BFLOAT16_FROM and not torch.accelerator.is_available()


def trl_config(
    recipe: Recipe, folder: Path, *, parameters: int = 0, strict: bool = False
) -> MASPOConfig:
    """Translate a recipe into TRL's settings, for the processes that are running.

    `parameters` is the size of the model. Raises InputError for a setting under `trl` that TRL does not
    know, that the recipe already decides or that would do nothing, and for a rollout that cannot be
    dealt out to the processes.
    """
    rollout, training = recipe.rollout, recipe.training
    decided: dict[str, Any] = {
        "output_dir": str(folder),
        "objective": recipe.make_objective(),
        "strict": strict,
        "seed": recipe.seed,
        "num_generations": rollout.samples,
        "temperature": rollout.temperature,
        "top_p": rollout.top_p,
        "max_completion_length": rollout.max_completion_tokens,
        "chat_template_kwargs": recipe.model.chat_template_kwargs,
        "use_vllm": rollout.engine == "vllm",
        "staleness": rollout.staleness,
        "max_steps": training.steps,
        "updates_per_rollout": training.updates_per_rollout,
        "num_iterations": 1,
        "per_device_train_batch_size": training.micro_batch,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": training.schedule,
        "warmup_steps": training.warmup_steps,
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "reward_weights": [float(spec.weight) for spec in recipe.reward.specs],
        "loss_type": LOSS_TYPES[recipe.reduction],
        "advantages": recipe.advantages,
        "beta": training.kl,
        "bf16": in_bfloat16(training.precision, parameters),
        "use_cpu": best_device().type == "cpu",
        "gradient_checkpointing": training.gradient_checkpointing,
        "save_strategy": "steps" if training.save_every else "no",
        "save_steps": (training.save_every or 1) * training.updates_per_rollout,
        "save_total_limit": max(2, training.keep),
        "disable_tqdm": True,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "logging_steps": 1,
        "report_to": [],
    }
    return _with_extras(recipe, decided)


def _with_extras(recipe: Recipe, decided: dict[str, Any]) -> MASPOConfig:
    refuse_extras(recipe, decided)
    processes = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    try:
        check_division(recipe, processes)
    except ValueError as error:
        raise InputError(str(error)) from None
    per_pass = recipe.training.micro_batch * processes
    decided["gradient_accumulation_steps"] = recipe.completions_per_update // per_pass
    try:
        config = MASPOConfig(**{**decided, **recipe.trl})
    except InputError:
        raise
    except (ValueError, ImportError) as error:
        raise InputError(str(error)) from error
    except torch.distributed.DistError as error:
        raise RunError(f"the processes cannot meet: {error}") from error
    if config.eval_strategy != "no":
        raise InputError(
            "trl.eval_strategy asks for TRL's own evaluation, for which a run has no data; the section "
            "evaluation says how the model is judged"
        )
    absent = set(config.report_to or ()) - set(get_available_reporting_integrations())
    if absent:
        raise InputError(f"trl.report_to: {', '.join(sorted(absent))} is not installed, or unknown")
    return config


def check_model(recipe: Recipe, model: Any) -> None:
    """Raise InputError where the recipe's adapters do not fit `model`, or its past weights the memory."""
    trained = adapted(recipe.model.lora, model)
    budget = recipe.trl.get("staleness_budget_gib", MASPOConfig.staleness_budget_gib)
    if recipe.rollout.staleness:
        check_budget(trained, recipe.rollout.staleness, budget)


def adapted(lora: Lora | None, model: Any) -> Any:
    """Return `model` with its adapters, as a copy without weights; as it is where it gets none.

    Raises InputError where it has no layer that an adapter is asked for, or PEFT takes none there.
    """
    if lora is None:
        return model
    from peft import get_peft_model

    with torch.device("meta"):
        shell = type(model)(model.config)
    try:
        return get_peft_model(shell, peft_config(lora))
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"model.lora.target does not fit the model: {reason}") from None


def train(
    recipe: Recipe,
    model: Any,
    tokenizer: Any,
    problems: Sequence[Problem],
    rewards: RewardSet,
    folder: Path,
    sink: Sink,
    *,
    strict: bool = False,
    resume: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    tokens: TokenSink | None = None,
    look: Look | None = None,
    every: int | None = None,
) -> Trained:
    """Train `model` on `problems` by the recipe; every logged line goes to `sink`.

    A line holds TRL's metrics and ours, `step` and `seconds` since the start. Checkpoints go to
    `folder` where the recipe asks for them; training goes on from that in `resume`. When `stop`
    becomes true, in any process, the step under way is finished and a checkpoint written. `tokens` gets
    every micro-batch of training, with the steps taken before it and its rows that were scored. `look`
    is called before training, after `every` so many rollouts, and when training is finished; it may
    be called again for a moment that it has seen, after a resume.
    """
    set_seed(recipe.seed)
    args = trl_config(recipe, folder, parameters=model.num_parameters(), strict=strict)
    clock = Clock()
    lora = recipe.model.lora
    looks = Looks(look, every, recipe, clock)
    trainer = MASPOTrainer(
        model,
        reward_functions(rewards, problems),
        args,
        train_dataset=Dataset.from_list(rows_of(problems)),
        processing_class=tokenizer,
        callbacks=[_Lines(sink, clock), looks, _Stop(stop)],
        peft_config=peft_config(lora) if lora else None,
    )
    trainer.token_sink = tokens
    # The sink shows what the printing callback would.
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    looks.trainer = trainer
    looks.take(0)
    clock.start()
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    seconds = clock.seconds
    trained = trainer.accelerator.unwrap_model(trainer.model)
    if lora:
        trained = trained.merge_and_unload()
    if trainer.state.global_step == args.max_steps:
        looks.take(recipe.training.rollouts, trained)
    return Trained(model=trained, seconds=seconds, steps=trainer.state.global_step)


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


def peft_config(lora: Lora) -> Any:
    """Translate the recipe's adapters for PEFT."""
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # pyright: ignore[reportArgumentType]  (a float is fine)
        lora_dropout=lora.dropout,
        target_modules=lora.target,
        task_type="CAUSAL_LM",
    )
