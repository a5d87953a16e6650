"""How the weights are held and updated: batches, optimizer, schedule, model and backend in verl's words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maspo.engines.verl.cluster import ACTOR, MODEL, ROLLOUT, Cluster
from maspo.engines.verl.names import DTYPES
from maspo.engines.verl.setting import VerlSetting, VerlSettings
from maspo.errors import InputError
from maspo.models.source import EMBEDDED, locate
from maspo.recipes.schema import Recipe
from maspo.recipes.sections.training import Optimizer


def dynamic(extra: Mapping[str, Any]) -> bool:
    """Whether verl cuts micro-batches by their tokens, and reads no micro-batch size."""
    return extra.get(f"{ACTOR}.use_dynamic_bsz") is True


def training_settings(recipe: Recipe, cluster: Cluster, extra: Mapping[str, Any]) -> VerlSettings:
    """Give the sizes of batches, the optimizer and its schedule, and when a checkpoint is written."""
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


def model_settings(recipe: Recipe, cluster: Cluster) -> VerlSettings:
    """Give the model, and how the processes of the backend hold it."""
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
