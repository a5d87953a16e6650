"""From a recipe to TRL's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers.integrations import get_available_reporting_integrations

from maspo.engines.trl.config import LOSS_TYPES, MASPOConfig
from maspo.engines.trl.extras import refuse_extras
from maspo.errors import InputError, RunError
from maspo.models.device import best_device
from maspo.models.quantized import needs_bitsandbytes
from maspo.recipes.schema import Recipe, check_division

BFLOAT16_FROM = 10_000_000
"""Parameters from which a CPU with bfloat16 uses it; measured: even at 5M, a third faster at 27M and 135M."""


OPTIMIZERS = {
    "adamw_fused": "adamw_torch_fused",
    "adamw": "adamw_torch",
    "adamw_8bit": "adamw_8bit",
}
"""TRL's words for `training.optimizer.name`."""


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
        "correction": rollout.correction and rollout.correction.model_dump(),
        "match_norm": recipe.make_match_norm(),
        "max_steps": training.steps,
        "updates_per_rollout": training.updates_per_rollout,
        "num_iterations": 1,
        "per_device_train_batch_size": training.micro_batch,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": training.schedule,
        "warmup_steps": training.warmup_steps,
        "optim": OPTIMIZERS[training.optimizer.name],
        "adam_beta1": training.optimizer.betas[0],
        "adam_beta2": training.optimizer.betas[1],
        "adam_epsilon": training.optimizer.eps,
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
    if recipe.training.optimizer.name == "adamw_8bit":
        needs_bitsandbytes("training.optimizer.name: adamw_8bit")
    if recipe.model.quantization is not None:
        _check_quantization(recipe)
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
    ours = sorted(set(config.report_to or ()) & {"tensorboard", "wandb", "trackio"})
    if ours:
        raise InputError(f"trl.report_to would track without evaluations; set tracker: {ours[0]}")
    absent = set(config.report_to or ()) - set(get_available_reporting_integrations())
    if absent:
        raise InputError(f"trl.report_to: {', '.join(sorted(absent))} is not installed, or unknown")
    return config


def _check_quantization(recipe: Recipe) -> None:
    if recipe.rollout.engine == "vllm":
        raise InputError(
            "vLLM cannot be handed weights of model.quantization: set rollout.engine to transformers"
        )
    needs_bitsandbytes(f"model.quantization: {recipe.model.quantization}")
