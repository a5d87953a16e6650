"""The sections of a recipe in verl's words, each setting with what decides it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maspo.core.reduction import REDUCTIONS
from maspo.engines.verl.cluster import ACTOR, MODEL, ROLLOUT, Cluster
from maspo.engines.verl.names import DTYPES, SETTINGS, estimator_settings
from maspo.errors import InputError
from maspo.models.source import EMBEDDED, locate
from maspo.recipes.schema import Recipe
from maspo.recipes.sections.training import Optimizer

REWARD = "pkg://maspo.engines.verl.reward"
CUSTOM = "reward.custom_reward_function"
MANAGER = "reward.reward_manager"
PROMPT_TOKENS = 1024
"""Longest prompt where the recipe sets no limit; verl needs one, and stops at a longer prompt."""
METRICS, VALIDATION, CHECKPOINTS, PROBLEMS = "verl.jsonl", "validation", "checkpoints", "data"
"""What of a run folder verl itself reads and writes."""


@dataclass(frozen=True)
class VerlSetting:
    """A setting of verl; what decides it is a key of the recipe or an option of the command."""

    value: Any
    by: str | None = None
    """None: nothing of ours leads to it, and the section `verl` may replace it."""


VerlSettings = dict[str, VerlSetting]


def all_settings(
    recipe: Recipe, cluster: Cluster, folder: Path, extra: Mapping[str, Any]
) -> VerlSettings:
    """Give every setting that the recipe, the options of the command or a default of ours leads to.

    `extra` is the section `verl`, dotted. Raises InputError for what verl cannot do.
    """
    return {
        **_folder(folder),
        **_data(recipe, folder, extra),
        **_reward(recipe, extra),
        **_loss(recipe, extra),
        **_training(recipe, cluster, extra),
        **_model(recipe, cluster),
        **_evaluation(recipe),
        f"{ROLLOUT}.tensor_model_parallel_size": VerlSetting(1),
        "trainer.logger": VerlSetting(_loggers(recipe, extra)),
        "trainer.project_name": VerlSetting(recipe.name),
        "trainer.experiment_name": VerlSetting(recipe.name),
    }


def dynamic(extra: Mapping[str, Any]) -> bool:
    """Whether verl cuts micro-batches by their tokens, and reads no micro-batch size."""
    return extra.get(f"{ACTOR}.use_dynamic_bsz") is True


def own_reward(extra: Mapping[str, Any]) -> bool:
    """Whether the section `verl` names a reward function of verl's kind."""
    return f"{CUSTOM}.path" in extra


def own_files(extra: Mapping[str, Any], key: str) -> list[str]:
    """List the parquet files that the section `verl` names under `key`; none: ours are written."""
    given = extra.get(key, [])
    return [given] if isinstance(given, str) else list(given)


def _folder(folder: Path) -> VerlSettings:
    """Where verl writes; Hydra's own folder too, which would else be `outputs/` where one stands."""
    logs = "+ray_kwargs.ray_init.runtime_env.env_vars.VERL_FILE_LOGGER_PATH"
    return {
        "hydra.run.dir": VerlSetting(str(folder), "--out"),
        "hydra.output_subdir": VerlSetting("hydra"),
        logs: VerlSetting(str(folder / METRICS), "--out"),
        "trainer.validation_data_dir": VerlSetting(str(folder / VALIDATION), "--out"),
        "trainer.default_local_dir": VerlSetting(str(folder / CHECKPOINTS), "--out"),
    }


def _loggers(recipe: Recipe, extra: Mapping[str, Any]) -> list[str]:
    """List verl's trackers; the one that writes a file is what the metrics of the run are read from."""
    ours = ["console", *([recipe.tracker] if recipe.tracker else [])]
    given = extra.get("trainer.logger", ours)
    asked = [given] if isinstance(given, str) else list(given)
    return asked if "file" in asked else [*asked, "file"]


def _data(recipe: Recipe, folder: Path, extra: Mapping[str, Any]) -> VerlSettings:
    limit, data = recipe.data.max_prompt_tokens, folder / PROBLEMS
    by = None if limit is None else "data.max_prompt_tokens"
    settings = {
        "data.train_files": VerlSetting(str(data / "train.parquet")),
        "data.val_files": VerlSetting(str(data / "test.parquet")),
        "data.train_batch_size": VerlSetting(recipe.rollout.prompts, "rollout.prompts"),
        "data.max_prompt_length": VerlSetting(limit or PROMPT_TOKENS, by),
        "data.filter_overlong_prompts": VerlSetting(limit is not None, by),
        "data.truncation": VerlSetting("error"),
        "data.max_response_length": VerlSetting(
            recipe.rollout.max_completion_tokens, "rollout.max_completion_tokens"
        ),
        "data.seed": VerlSetting(recipe.seed, "seed"),
        "data.apply_chat_template_kwargs": VerlSetting(
            recipe.model.chat_template_kwargs or {}, "model.chat_template_kwargs"
        ),
    }
    if not all(own_files(extra, f"data.{kind}_files") for kind in ("train", "val")):
        settings["data.prompt_key"] = VerlSetting(
            "prompt", "data.source, whose files have that column"
        )
    return settings


def _reward(recipe: Recipe, extra: Mapping[str, Any]) -> VerlSettings:
    """Give the rewards, and a manager that also notes which problem it was and how long the answer."""
    manager = {
        f"{MANAGER}.source": VerlSetting("importlib"),
        f"{MANAGER}.name": VerlSetting("NotingRewardManager"),
        f"{MANAGER}.module.path": VerlSetting("pkg://maspo.engines.verl.reward_manager"),
    }
    if any(key.startswith(f"{MANAGER}.") for key in extra):
        manager = {}
    if own_reward(extra) and not recipe.reward.functions:
        return manager
    asked = {k: v for k, v in recipe.reward.model_dump().items() if v not in (None, [])}
    by = "reward.functions" if recipe.reward.functions else None
    return manager | {
        f"{CUSTOM}.path": VerlSetting(REWARD, by),
        f"+{CUSTOM}.reward_kwargs": VerlSetting(asked, "reward"),
    }


def _loss(recipe: Recipe, extra: Mapping[str, Any]) -> VerlSettings:
    training, loss = recipe.training, f"{ACTOR}.policy_loss"
    kl = "training.kl" if training.kl > 0 else None
    settings: VerlSettings = {
        f"{loss}._target_": VerlSetting(SETTINGS, "objective"),
        f"+{loss}.objective": VerlSetting({"name": "maspo", **recipe.objective}, "objective"),
        f"{ACTOR}.use_kl_loss": VerlSetting(training.kl > 0, kl),
        f"{ACTOR}.kl_loss_coef": VerlSetting(training.kl, kl),
        f"{ACTOR}.kl_loss_type": VerlSetting("low_var_kl"),
        "algorithm.use_kl_in_reward": VerlSetting(False),
        **_reduction(recipe, extra),
    }
    if training.coupling is not None:
        settings[f"+{loss}.coupling"] = VerlSetting(training.coupling, "training.coupling")
    if "entropies" in recipe.make_objective().inputs:
        settings[f"{ACTOR}.calculate_entropy"] = VerlSetting(True, "objective")
    named = extra.get("algorithm.adv_estimator")
    ours = estimator_settings(recipe.advantages)
    if training.advantages is None and named not in (None, ours["algorithm.adv_estimator"]):
        return settings  # an estimator of verl's own
    by = "training.advantages"
    settings[f"+{loss}.advantages"] = VerlSetting(recipe.advantages, by)
    return settings | {key: VerlSetting(value, by) for key, value in ours.items()}


def _reduction(recipe: Recipe, extra: Mapping[str, Any]) -> VerlSettings:
    """Give the reduction: the recipe's, or one that verl alone has."""
    key = f"{ACTOR}.loss_agg_mode"
    theirs = recipe.training.reduction is None and extra.get(key, "token-mean") not in REDUCTIONS
    name, by = (extra[key], None) if theirs else (recipe.reduction, "training.reduction")
    settings = {
        f"+{ACTOR}.policy_loss.reduction": VerlSetting(name, "training.reduction"),
        key: VerlSetting(name, by),
    }
    if name == "seq-mean-token-sum-norm":
        settings[f"{ACTOR}.loss_scale_factor"] = VerlSetting(recipe.rollout.max_completion_tokens)
    return settings


def _training(recipe: Recipe, cluster: Cluster, extra: Mapping[str, Any]) -> VerlSettings:
    training, rollout = recipe.training, recipe.rollout
    micro = training.micro_batch
    by_tokens = dynamic(extra)
    batches = {
        f"{ACTOR}.ppo_micro_batch_size_per_gpu": VerlSetting(micro, "training.micro_batch"),
        f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu": VerlSetting(micro),
        "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu": VerlSetting(micro),
    }
    return {
        f"{ACTOR}.ppo_mini_batch_size": VerlSetting(
            rollout.prompts // training.updates_per_rollout, "training.updates_per_rollout"
        ),
        f"{ACTOR}.ppo_epochs": VerlSetting(1),
        **({} if by_tokens else batches),
        f"{ACTOR}.data_loader_seed": VerlSetting(recipe.seed, "seed"),
        f"{ROLLOUT}.name": VerlSetting(cluster.rollout),
        f"{ROLLOUT}.n": VerlSetting(rollout.samples, "rollout.samples"),
        f"{ROLLOUT}.temperature": VerlSetting(rollout.temperature, "rollout.temperature"),
        f"{ROLLOUT}.top_p": VerlSetting(rollout.top_p, "rollout.top_p"),
        f"{ROLLOUT}.seed": VerlSetting(recipe.seed, "seed"),
        f"{ACTOR}.optim.lr": VerlSetting(training.learning_rate, "training.learning_rate"),
        f"{ACTOR}.optim.weight_decay": VerlSetting(training.weight_decay, "training.weight_decay"),
        f"{ACTOR}.optim.clip_grad": VerlSetting(training.max_grad_norm, "training.max_grad_norm"),
        **_optimizer(training.optimizer, cluster),
        **_schedule(recipe, cluster),
        "trainer.total_training_steps": VerlSetting(training.rollouts, "training.rollouts"),
        "trainer.total_epochs": VerlSetting(training.rollouts),  # an epoch is a rollout or more
        "trainer.save_freq": VerlSetting(
            training.save_every or training.rollouts, "training.save_every"
        ),
        "trainer.max_actor_ckpt_to_keep": VerlSetting(max(2, training.keep), "training.keep"),
        "trainer.nnodes": VerlSetting(cluster.nodes, "--nodes"),
        "trainer.n_gpus_per_node": VerlSetting(cluster.gpus_per_node, "--gpus-per-node"),
    }


def _optimizer(optimizer: Optimizer, cluster: Cluster) -> VerlSettings:
    """Ask for the AdamW of the recipe; Megatron has one of its own, whose settings are the same."""
    place, by = f"{ACTOR}.optim", "training.optimizer"
    eight, own = optimizer.name == "adamw_8bit", f"{place}.override_optimizer_config"
    settings = {f"{place}.betas": VerlSetting(optimizer.betas, by)}
    if cluster.backend == "megatron":
        if eight:
            raise InputError(
                "megatron has no adamw_8bit: leave out training.optimizer.name, or take another --backend"
            )
        first, second = optimizer.betas
        names = {"adam_beta1": first, "adam_beta2": second, "adam_eps": optimizer.eps}
        return settings | {f"+{own}.{name}": VerlSetting(names[name], by) for name in names}
    if eight:
        settings[f"{place}.optimizer"] = VerlSetting("AdamW8bit", by)
        settings[f"{place}.optimizer_impl"] = VerlSetting("bitsandbytes.optim", by)
        return settings | {own: VerlSetting({"eps": optimizer.eps}, by)}
    kind = {"eps": optimizer.eps, "fused": optimizer.name == "adamw_fused"}
    return settings | {own: VerlSetting(kind, by)}


def _schedule(recipe: Recipe, cluster: Cluster) -> VerlSettings:
    """Give the learning-rate schedule, which verl moves on once per rollout."""
    training = recipe.training
    schedule, updates = training.schedule, training.updates_per_rollout
    warmup, rest = divmod(training.warmup_steps, updates)
    if rest:
        raise InputError(
            f"verl changes the learning rate once per rollout: warmup_steps ({training.warmup_steps}) "
            f"must be a multiple of updates_per_rollout ({updates})"
        )
    if schedule == "constant" and warmup:
        raise InputError("warmup_steps do nothing under constant; take constant_with_warmup")
    word = schedule.removesuffix("_with_warmup")
    if cluster.backend == "megatron":
        key = f"{ACTOR}.optim.lr_decay_style"
    elif word == "linear":
        raise InputError("verl's FSDP has no linear schedule; take constant or cosine, or megatron")
    else:
        key = f"{ACTOR}.optim.lr_scheduler_type"
    return {
        f"{ACTOR}.optim.lr_warmup_steps": VerlSetting(warmup, "training.warmup_steps"),
        key: VerlSetting(word, "training.schedule"),
    }


def _model(recipe: Recipe, cluster: Cluster) -> VerlSettings:
    source = recipe.model.source
    if source.endswith(".gguf"):
        raise InputError(
            "verl reads no .gguf files; save the model in Hugging Face format and name that folder"
        )
    if source != "embedded" and Path(source).is_dir() and locate(source).adapter:
        raise InputError(
            "verl reads no adapter as a model; merge it into its model and name that folder"
        )
    if recipe.model.chat_template is not None:
        raise InputError(
            "verl takes the chat template of the model's folder: save it there in place of "
            "model.chat_template"
        )
    common = {
        f"{MODEL}.path": VerlSetting(
            str(EMBEDDED) if source == "embedded" else source, "model.source"
        ),
        f"{MODEL}.enable_gradient_checkpointing": VerlSetting(
            recipe.training.gradient_checkpointing, "training.gradient_checkpointing"
        ),
        f"{ACTOR}.strategy": VerlSetting(cluster.backend, "--backend"),
    }
    return common | (_megatron(recipe) if cluster.backend == "megatron" else _fsdp(recipe))


def _fsdp(recipe: Recipe) -> VerlSettings:
    engine = f"{ACTOR}.fsdp_config"
    settings = {
        f"{engine}.model_dtype": VerlSetting(DTYPES[recipe.model.dtype], "model.dtype"),
        f"{engine}.seed": VerlSetting(recipe.seed, "seed"),
    }
    if recipe.training.precision == "float32":
        by, kinds = "training.precision", ("param", "reduce", "buffer")
        types = {f"{kind}_dtype": "fp32" for kind in kinds}
        settings[f"+{engine}.mixed_precision"] = VerlSetting(types, by)
        settings[f"{ROLLOUT}.dtype"] = VerlSetting("float32", by)
    lora = recipe.model.lora
    if lora is None:
        return settings
    if lora.dropout or lora.alpha != int(lora.alpha):
        raise InputError(
            f"verl's adapters take a whole alpha and no dropout, not alpha {lora.alpha:g} and dropout "
            f"{lora.dropout:g}"
        )
    return settings | {
        f"{MODEL}.lora_rank": VerlSetting(lora.rank, "model.lora"),
        f"{MODEL}.lora_alpha": VerlSetting(int(lora.alpha), "model.lora"),
        f"{MODEL}.target_modules": VerlSetting(lora.target, "model.lora"),
    }


def _megatron(recipe: Recipe) -> VerlSettings:
    if recipe.model.lora is not None:
        raise InputError(
            "adapters with megatron have other settings: leave out model.lora and give verl's own under "
            f"verl, as {MODEL}.lora.rank"
        )
    if recipe.training.precision == "float32" or recipe.model.dtype != "float32":
        raise InputError(
            "megatron computes in bfloat16 and keeps float32 weights for the optimizer: leave "
            "training.precision at auto and model.dtype at float32"
        )
    return {f"{ACTOR}.megatron.seed": VerlSetting(recipe.seed, "seed")}


def _evaluation(recipe: Recipe) -> VerlSettings:
    evaluation = recipe.evaluation
    if evaluation is None:
        return {
            "trainer.val_before_train": VerlSetting(False),
            "trainer.test_freq": VerlSetting(-1),
        }
    if evaluation.keep_best:
        raise InputError(
            "verl keeps no best model: leave out evaluation.keep_best, or train with TRL"
        )
    greedy, kwargs = evaluation.temperature == 0, f"{ROLLOUT}.val_kwargs"
    every = evaluation.every
    return {
        f"{kwargs}.n": VerlSetting(evaluation.samples, "evaluation.samples"),
        f"{kwargs}.do_sample": VerlSetting(not greedy, "evaluation.temperature"),
        f"{kwargs}.temperature": VerlSetting(evaluation.temperature, "evaluation.temperature"),
        f"{kwargs}.top_p": VerlSetting(evaluation.top_p, "evaluation.top_p"),
        "trainer.val_before_train": VerlSetting(True),
        # verl also evaluates after the last one
        "trainer.test_freq": VerlSetting(
            every or recipe.training.rollouts, None if every is None else "evaluation.every"
        ),
    }
