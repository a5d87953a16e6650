"""From a recipe to verl's settings: pure functions, without verl."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maspo.engines.verl.limits import check_coupling, check_objective
from maspo.engines.verl.names import DTYPES, SETTINGS, estimator_settings
from maspo.errors import InputError
from maspo.models.source import EMBEDDED, locate
from maspo.recipes.schema import Recipe, check_division
from maspo.recipes.sections.base import Section
from maspo.recipes.sections.training import Optimizer

BACKENDS = ("fsdp", "fsdp2", "megatron")
ROLLOUTS = ("vllm", "sglang")
ACTOR, ROLLOUT, MODEL = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "model"))
REWARD = "pkg://maspo.engines.verl.reward"
PROMPT_TOKENS = 1024
"""Longest prompt where the recipe sets no limit; verl needs one, and stops at a longer prompt."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What a run is spread over."""

    nodes: int = 1
    gpus_per_node: int = 1
    backend: str = "fsdp2"
    """One of `BACKENDS`, which hold and update the weights."""
    rollout: str = "vllm"
    """One of `ROLLOUTS`, which sample."""

    def __post_init__(self) -> None:
        """Raise InputError for a word that verl does not know."""
        for kind, given, known in (
            ("backend", self.backend, BACKENDS),
            ("rollout", self.rollout, ROLLOUTS),
        ):
            if given not in known:
                raise InputError(f"--{kind} must be one of {', '.join(known)}, not {given}")
        if self.nodes < 1 or self.gpus_per_node < 1:
            raise InputError(
                f"--nodes and --gpus-per-node must be positive, not {self.nodes} and {self.gpus_per_node}"
            )


def overrides(recipe: Recipe, cluster: Cluster, folder: Path) -> list[str]:
    """Translate a recipe into Hydra overrides of verl's `ppo_trainer`.

    `folder` holds data/train.parquet and data/test.parquet, and gets checkpoints. Raises InputError
    for what verl cannot do, and for a setting under `verl` that the rest of the recipe decides.
    """
    if recipe.rollout.staleness:
        raise InputError(
            "rollout.staleness is TRL's alone: for stale data with verl use its own asynchronous trainers, "
            "whose lag is theirs"
        )
    if recipe.training.match_norm:
        raise InputError("training.match_norm is a control of races, which train with TRL")
    decided = {
        **_data(recipe, folder),
        "trainer.default_local_dir": str(folder / "checkpoints"),
        **_loss(recipe),
        **_training(recipe, cluster),
        **_model(recipe, cluster),
        **_evaluation(recipe),
    }
    free = {
        f"{ROLLOUT}.tensor_model_parallel_size": 1,
        "trainer.logger": ["console", *([recipe.tracker] if recipe.tracker else [])],
        "trainer.project_name": recipe.name,
    }
    extra = dict(extras(recipe))
    check_division_for_verl(recipe, cluster, extra)
    bare = {key.lstrip("+") for key in decided}
    for key in extra:
        owner = next((b for b in bare if f"{key.lstrip('+')}.".startswith(f"{b}.")), None)
        if owner:
            raise InputError(f"verl.{key} is decided by the rest of the recipe; set it there")
    engine = ["model_engine=megatron"] if cluster.backend == "megatron" else []
    return engine + [f"{key}={hydra(value)}" for key, value in (decided | free | extra).items()]


def unused(recipe: Recipe, cluster: Cluster) -> list[str]:
    """Say which settings of the recipe verl does not act on."""
    said = []
    if recipe.rollout.engine != cluster.rollout:
        said.append(
            f"rollout.engine ({recipe.rollout.engine}) does nothing with verl, whose sampler is "
            f"{cluster.rollout}: --rollout chooses it"
        )
    if _changed(recipe.training, "save_tokens"):
        said.append("training.save_tokens does nothing with verl, which keeps no tokens")
    if recipe.push_to_hub is not None:
        said.append("push_to_hub does nothing with verl, which leaves checkpoints")
    if cluster.backend == "megatron" and recipe.training.optimizer.name == "adamw":
        said.append("training.optimizer.name does nothing with megatron, whose Adam is fused")
    if recipe.evaluation is not None and _changed(recipe.evaluation, "batch_size"):
        said.append("evaluation.batch_size does nothing with verl, whose server decides it")
    return said


def _changed(section: Section, field: str) -> bool:
    return getattr(section, field) != type(section).model_fields[field].default


def extras(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """List the settings under `verl` by their dotted names there."""

    def walk(section: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for key, value in section.items():
            if isinstance(value, Mapping):
                yield from walk(value, f"{prefix}{key}.")
            else:
                yield prefix + key, value

    return walk(recipe.verl, "")


def check_division_for_verl(recipe: Recipe, cluster: Cluster, extra: Mapping[str, Any]) -> None:
    """Raise InputError where prompts, micro-batches and processes do not divide as verl needs."""
    prompts, updates = recipe.rollout.prompts, recipe.training.updates_per_rollout
    if prompts % updates:
        raise InputError(
            f"verl cuts a rollout into mini-batches of whole prompts: {prompts} prompts cannot be divided "
            f"into {updates} updates"
        )
    processes = data_parallel(cluster, extra)
    try:
        check_division(recipe, processes)
    except ValueError as error:
        raise InputError(str(error)) from None
    objective = recipe.make_objective()
    check_objective(objective)
    part = min(recipe.training.micro_batch, recipe.completions_per_update // processes)
    check_coupling(objective, part, recipe.completions_per_update)


def data_parallel(cluster: Cluster, extra: Mapping[str, Any]) -> int:
    """Count the processes that each take a share of a mini-batch."""
    world = cluster.nodes * cluster.gpus_per_node
    if cluster.backend == "megatron":
        parts = ("tensor_model", "pipeline_model", "context")
        keys = [f"{ACTOR}.megatron.{part}_parallel_size" for part in parts]
    else:
        keys = [f"{ACTOR}.fsdp_config.ulysses_sequence_parallel_size"]
    split = 1
    for key in keys:
        split *= extra.get(key, 1)
    if world % split:
        raise InputError(f"{world} GPUs cannot be divided into groups of {split}: see {keys[0]}")
    return world // split


def _data(recipe: Recipe, folder: Path) -> dict[str, Any]:
    limit = recipe.data.max_prompt_tokens
    return {
        "data.train_files": str(folder / "data" / "train.parquet"),
        "data.val_files": str(folder / "data" / "test.parquet"),
        "data.train_batch_size": recipe.rollout.prompts,
        "data.max_prompt_length": limit or PROMPT_TOKENS,
        "data.filter_overlong_prompts": limit is not None,
        "data.truncation": "error",
        "data.max_response_length": recipe.rollout.max_completion_tokens,
        "data.seed": recipe.seed,
        "data.apply_chat_template_kwargs": recipe.model.chat_template_kwargs or {},
        "reward.custom_reward_function.path": REWARD,
        "+reward.custom_reward_function.reward_kwargs": {
            name: value
            for name, value in recipe.reward.model_dump().items()
            if value not in (None, [])
        },
    }


def _loss(recipe: Recipe) -> dict[str, Any]:
    training = recipe.training
    settings: dict[str, Any] = {
        f"{ACTOR}.policy_loss._target_": SETTINGS,
        f"+{ACTOR}.policy_loss.objective": {"name": "maspo", **recipe.objective},
        f"+{ACTOR}.policy_loss.advantages": recipe.advantages,
        f"+{ACTOR}.policy_loss.reduction": recipe.reduction,
        f"{ACTOR}.loss_agg_mode": recipe.reduction,
        f"{ACTOR}.use_kl_loss": training.kl > 0,
        f"{ACTOR}.kl_loss_coef": training.kl,
        f"{ACTOR}.kl_loss_type": "low_var_kl",
        "algorithm.use_kl_in_reward": False,
    }
    if recipe.reduction == "seq-mean-token-sum-norm":
        settings[f"{ACTOR}.loss_scale_factor"] = recipe.rollout.max_completion_tokens
    return settings | estimator_settings(recipe.advantages)


def _training(recipe: Recipe, cluster: Cluster) -> dict[str, Any]:
    training, rollout = recipe.training, recipe.rollout
    micro = training.micro_batch
    return {
        f"{ACTOR}.ppo_mini_batch_size": rollout.prompts // training.updates_per_rollout,
        f"{ACTOR}.ppo_epochs": 1,
        f"{ACTOR}.ppo_micro_batch_size_per_gpu": micro,
        f"{ACTOR}.data_loader_seed": recipe.seed,
        f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu": micro,
        "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu": micro,
        f"{ROLLOUT}.name": cluster.rollout,
        f"{ROLLOUT}.n": rollout.samples,
        f"{ROLLOUT}.temperature": rollout.temperature,
        f"{ROLLOUT}.top_p": rollout.top_p,
        f"{ROLLOUT}.seed": recipe.seed,
        f"{ACTOR}.optim.lr": training.learning_rate,
        f"{ACTOR}.optim.weight_decay": training.weight_decay,
        f"{ACTOR}.optim.clip_grad": training.max_grad_norm,
        **_optimizer(training.optimizer, cluster),
        **_schedule(recipe, cluster),
        "trainer.total_training_steps": training.rollouts,
        "trainer.total_epochs": training.rollouts,  # an epoch is a rollout or more
        "trainer.save_freq": training.save_every or -1,
        "trainer.max_actor_ckpt_to_keep": max(2, training.keep),
        "trainer.nnodes": cluster.nodes,
        "trainer.n_gpus_per_node": cluster.gpus_per_node,
        "trainer.experiment_name": recipe.name,
    }


def _optimizer(optimizer: Optimizer, cluster: Cluster) -> dict[str, Any]:
    """Ask for the AdamW of the recipe; Megatron has one of its own, whose settings are the same."""
    place, eight = f"{ACTOR}.optim", optimizer.name == "adamw_8bit"
    betas = {f"{place}.betas": optimizer.betas}
    if cluster.backend == "megatron":
        if eight:
            raise InputError(
                "megatron has no adamw_8bit: leave out training.optimizer.name, or take another --backend"
            )
        first, second = optimizer.betas
        own = {"adam_beta1": first, "adam_beta2": second, "adam_eps": optimizer.eps}
        more = {f"+{place}.override_optimizer_config.{name}": own[name] for name in own}
        return betas | more
    settings: dict[str, Any] = {"eps": optimizer.eps}
    if eight:
        kind = {f"{place}.optimizer": "AdamW8bit", f"{place}.optimizer_impl": "bitsandbytes.optim"}
    else:
        kind, settings["fused"] = {}, optimizer.name == "adamw_fused"
    return betas | kind | {f"{place}.override_optimizer_config": settings}


def _schedule(recipe: Recipe, cluster: Cluster) -> dict[str, Any]:
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
        style = {f"{ACTOR}.optim.lr_decay_style": word}
    elif word == "linear":
        raise InputError("verl's FSDP has no linear schedule; take constant or cosine, or megatron")
    else:
        style = {f"{ACTOR}.optim.lr_scheduler_type": word}
    return {f"{ACTOR}.optim.lr_warmup_steps": warmup, **style}


def _model(recipe: Recipe, cluster: Cluster) -> dict[str, Any]:
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
        f"{MODEL}.path": str(EMBEDDED) if source == "embedded" else source,
        f"{MODEL}.enable_gradient_checkpointing": recipe.training.gradient_checkpointing,
    }
    return common | (_megatron(recipe) if cluster.backend == "megatron" else _fsdp(recipe, cluster))


def _fsdp(recipe: Recipe, cluster: Cluster) -> dict[str, Any]:
    engine = f"{ACTOR}.fsdp_config"
    settings: dict[str, Any] = {
        f"{ACTOR}.strategy": cluster.backend,
        f"{engine}.model_dtype": DTYPES[recipe.model.dtype],
        f"{engine}.seed": recipe.seed,
    }
    if recipe.training.precision == "float32":
        kinds = ("param", "reduce", "buffer")
        settings[f"+{engine}.mixed_precision"] = {f"{kind}_dtype": "fp32" for kind in kinds}
        settings[f"{ROLLOUT}.dtype"] = "float32"
    lora = recipe.model.lora
    if lora is None:
        return settings
    if lora.dropout or lora.alpha != int(lora.alpha):
        raise InputError(
            f"verl's adapters take a whole alpha and no dropout, not alpha {lora.alpha:g} and dropout "
            f"{lora.dropout:g}"
        )
    return settings | {
        f"{MODEL}.lora_rank": lora.rank,
        f"{MODEL}.lora_alpha": int(lora.alpha),
        f"{MODEL}.target_modules": lora.target,
    }


def _megatron(recipe: Recipe) -> dict[str, Any]:
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
    return {f"{ACTOR}.strategy": "megatron", f"{ACTOR}.megatron.seed": recipe.seed}


def _evaluation(recipe: Recipe) -> dict[str, Any]:
    evaluation = recipe.evaluation
    if evaluation is None:
        return {"trainer.val_before_train": False, "trainer.test_freq": -1}
    if evaluation.keep_best:
        raise InputError(
            "verl keeps no best model: leave out evaluation.keep_best, or train with TRL"
        )
    greedy = evaluation.temperature == 0
    return {
        f"{ROLLOUT}.val_kwargs.n": evaluation.samples,
        f"{ROLLOUT}.val_kwargs.do_sample": not greedy,
        f"{ROLLOUT}.val_kwargs.temperature": evaluation.temperature,
        f"{ROLLOUT}.val_kwargs.top_p": evaluation.top_p,
        "trainer.val_before_train": True,
        "trainer.test_freq": evaluation.every or recipe.training.rollouts,  # and after the last one
    }


def hydra(value: Any) -> str:
    """Write a value in the grammar of Hydra's overrides."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{hydra(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(hydra(item) for item in value) + "]"
    if re.fullmatch(r"[A-Za-z_/.][\w./:@-]*", value) and value.lower() not in _NOT_TEXT:
        return value
    return "'" + re.sub(r"(\\*)'", r"\1\1\\'", value) + "'"


_NOT_TEXT = ("true", "false", "null", "inf", "nan")
