"""Which settings of TRL a recipe may hold: none that it decides elsewhere, none that would do nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

from maspo.engines.trl.config import MASPOConfig
from maspo.engines.trl.names import FIELDS
from maspo.errors import InputError, unknown
from maspo.recipes.schema import Recipe

OVERRIDABLE = ("logging_steps", "report_to", "chat_template_kwargs")
"""Settings that the engine gives a value to and a recipe may give another; a recipe takes the last of them
over from here as `model.chat_template_kwargs`."""

OWNED = {
    "output_dir": "--out",
    "strict": "--strict",
    "objective": "objective",
    "seed": "seed",
    "num_generations": "rollout.samples",
    "temperature": "rollout.temperature",
    "top_p": "rollout.top_p",
    "max_completion_length": "rollout.max_completion_tokens",
    "use_vllm": "rollout.engine",
    "staleness": "rollout.staleness",
    "correction": "rollout.correction",
    "match_norm": "training.match_norm",
    "max_steps": "training.rollouts",
    "num_train_epochs": "training.rollouts",
    "updates_per_rollout": "training.updates_per_rollout",
    "num_iterations": "training.updates_per_rollout",
    "steps_per_generation": "training.updates_per_rollout",
    "generation_batch_size": "rollout.prompts and rollout.samples",
    "gradient_accumulation_steps": "training.updates_per_rollout and training.micro_batch",
    "per_device_train_batch_size": "training.micro_batch",
    "learning_rate": "training.learning_rate",
    "lr_scheduler_type": "training.schedule",
    "warmup_steps": "training.warmup_steps",
    "weight_decay": "training.weight_decay",
    "optim": "training.optimizer.name",
    "adam_beta1": "training.optimizer.betas",
    "adam_beta2": "training.optimizer.betas",
    "adam_epsilon": "training.optimizer.eps",
    "max_grad_norm": "training.max_grad_norm",
    "loss_type": "training.reduction",
    "advantages": "training.advantages",
    "scale_rewards": "training.advantages",
    "beta": "training.kl",
    "reward_weights": "reward.functions",
    "bf16": "training.precision",
    "fp16": "training.precision",
    "gradient_checkpointing": "training.gradient_checkpointing",
    "save_strategy": "training.save_every",
    "save_steps": "training.save_every",
    "save_total_limit": "training.keep",
    "resume_from_checkpoint": "maspo resume, which takes the folder of the run",
    "model_init_kwargs": "model",
    "trust_remote_code": "model",
    "use_cpu": "the environment, as by CUDA_VISIBLE_DEVICES",
    "disable_tqdm": "the command line, which has a bar of its own",
    "dataloader_pin_memory": "the device",
}
"""Settings that follow from something else, and from what."""

_EVALUATION = "TRL evaluates nothing in such a run, the section evaluation says what is evaluated"
_OBJECTIVE = "it is of TRL's own losses, and the section objective says what is optimised"
WITHOUT_EFFECT = {
    **{name: f"{_OBJECTIVE} ({field})" for name, field in FIELDS.items()},
    **dict.fromkeys(
        (
            "eval_strategy", "eval_steps", "eval_delay", "eval_on_start", "do_eval", "do_train", "do_predict",
            "per_device_eval_batch_size", "num_generations_eval", "prediction_loss_only",
            "eval_do_concat_batches", "eval_use_gather_object", "eval_accumulation_steps",
            "include_for_metrics", "batch_eval_metrics", "bf16_full_eval", "fp16_full_eval",
            "load_best_model_at_end", "metric_for_best_model", "greater_is_better",
        ),
        _EVALUATION,
    ),
    **dict.fromkeys(
        ("label_smoothing_factor", "label_names"), "there are no labels in reinforcement learning"
    ),
    **dict.fromkeys(
        ("train_sampling_strategy", "length_column_name"), "GRPO's trainer has a sampler of its own"
    ),
}  # fmt: skip
"""Settings that never do anything in a run of a recipe, and why."""


NEEDS = {
    **dict.fromkeys(("sync_ref_model", "use_bias_correction_kl"), "training.kl"),
    "staleness_budget_gib": "rollout.staleness",
    **dict.fromkeys(("ref_model_mixup_alpha", "ref_model_sync_steps"), "trl.sync_ref_model"),
    **dict.fromkeys(
        ("entropy_coef_min", "entropy_coef_max", "entropy_coef_delta", "entropy_target"),
        "trl.use_adaptive_entropy",
    ),
    **dict.fromkeys(
        (
            "num_completions_to_print", "log_multimodal", "log_unique_prompts", "log_completions_hub_repo",
        ),
        "trl.log_completions",
    ),
}  # fmt: skip
"""Settings that do something only where another one is set, and which."""


def refuse_extras(recipe: Recipe, decided: Iterable[str]) -> None:
    """Raise InputError for a setting under `trl` that a run of the recipe would not follow.

    TRL does not know it, the recipe decides it (`decided` names what the engine sets), or nothing in
    such a run reads it.
    """
    known = {field.name for field in fields(MASPOConfig)}
    for name in recipe.trl:
        if name not in known:
            raise unknown("setting of TRL", name, known)
        if name in OVERRIDABLE:
            continue
        if name in OWNED or name in decided:
            place = OWNED.get(name, "the rest of the recipe")
            raise InputError(f"trl.{name} is decided by {place}; set it there")
        if name in WITHOUT_EFFECT:
            raise InputError(f"trl.{name} would do nothing: {WITHOUT_EFFECT[name]}")
        if name.startswith("vllm_") and recipe.rollout.engine != "vllm":
            raise InputError(f"trl.{name} would do nothing without rollout.engine: vllm")
        if name in NEEDS and not _given(recipe, NEEDS[name]):
            raise InputError(f"trl.{name} would do nothing without {NEEDS[name]}")


def _given(recipe: Recipe, key: str) -> bool:
    section, _, name = key.partition(".")
    return bool(
        recipe.trl.get(name) if section == "trl" else getattr(getattr(recipe, section), name)
    )
