"""The sections of a recipe in verl's words: what is asked, rewarded, optimised, evaluated and written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maspo.core.reduction import REDUCTIONS
from maspo.engines.verl.cluster import ACTOR, ROLLOUT, Cluster
from maspo.engines.verl.names import SETTINGS, estimator_settings
from maspo.engines.verl.setting import VerlSetting, VerlSettings
from maspo.engines.verl.weights import model_settings, training_settings
from maspo.errors import InputError
from maspo.recipes.schema import Recipe

REWARD = "pkg://maspo.engines.verl.reward"
CUSTOM = "reward.custom_reward_function"
MANAGER = "reward.reward_manager"
PROMPT_TOKENS = 1024
"""Longest prompt where the recipe sets no limit; verl needs one, and stops at a longer prompt."""
METRICS, VALIDATION, CHECKPOINTS, PROBLEMS = "verl.jsonl", "validation", "checkpoints", "data"
"""What of a run folder verl itself reads and writes."""


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
        **training_settings(recipe, cluster, extra),
        **model_settings(recipe, cluster),
        **_evaluation(recipe),
        f"{ROLLOUT}.tensor_model_parallel_size": VerlSetting(1),
        "trainer.logger": VerlSetting(_loggers(recipe, extra)),
        "trainer.project_name": VerlSetting(recipe.name),
        "trainer.experiment_name": VerlSetting(recipe.name),
    }


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
