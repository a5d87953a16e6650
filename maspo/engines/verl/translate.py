"""From a recipe to verl's settings: pure functions, without verl."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from maspo.engines.verl.cluster import ACTOR, Cluster
from maspo.engines.verl.grammar import check_plain, hydra
from maspo.engines.verl.limits import check_coupling, check_objective
from maspo.engines.verl.sections import CUSTOM, all_settings, own_reward
from maspo.engines.verl.setting import VerlSettings
from maspo.engines.verl.weights import dynamic
from maspo.errors import InputError
from maspo.recipes.schema import Recipe, check_division
from maspo.recipes.sections.base import Section


def overrides(recipe: Recipe, cluster: Cluster, folder: Path) -> list[str]:
    """Translate a recipe into Hydra overrides of verl's `ppo_trainer`.

    `folder` is that of the run: verl reads its problems there and writes metrics, samples and
    checkpoints. Raises InputError for what verl cannot do, and for a setting under `verl` that a key of
    the recipe decides.
    """
    _check_for_trl(recipe)
    extra = dict(extras(recipe))
    check_division_for_verl(recipe, cluster, extra)
    ours = all_settings(recipe, cluster, folder, extra)
    for key, setting in ours.items():
        check_plain(key, setting.value)
    _check_owners(ours, extra)
    engine = ["model_engine=megatron"] if cluster.backend == "megatron" else []
    values = {key: setting.value for key, setting in ours.items()}
    apart = {"trainer.logger", *_of_the_other_backend(extra, cluster)}
    given = {key: value for key, value in extra.items() if key not in apart}
    kept = {key: value for key, value in values.items() if not _removed(key, given)}
    return engine + [f"{key}={hydra(value)}" for key, value in (kept | given).items()]


def _check_for_trl(recipe: Recipe) -> None:
    if recipe.model.quantization is not None:
        raise InputError("model.quantization is TRL's alone: with verl leave it out")
    if recipe.rollout.staleness:
        raise InputError(
            "rollout.staleness is TRL's alone: with verl use its own asynchronous trainers, as "
            "verl.trainer.v1.trainer_mode=colocate_async, whose lag is theirs"
        )
    if recipe.training.match_norm:
        raise InputError("training.match_norm is a control of races, which train with TRL")


def _check_owners(ours: VerlSettings, extra: Mapping[str, Any]) -> None:
    """Raise InputError for a setting under `verl` that something else decides, and say what."""
    bare = {key.lstrip("+"): setting.by for key, setting in ours.items() if setting.by is not None}
    bare["model_engine"] = "--backend"
    for key in extra:
        name = f"{key.lstrip('+~')}."
        by = next((by for one, by in bare.items() if name.startswith(f"{one}.")), None)
        if by is not None:
            raise InputError(f"verl.{key} is decided by {by}; set that")


def _of_the_other_backend(extra: Mapping[str, Any], cluster: Cluster) -> list[str]:
    """List the settings of an engine that does not hold the weights: a recipe may know several."""
    other = "fsdp_config" if cluster.backend == "megatron" else "megatron"
    return [key for key in extra if key.lstrip("+~").startswith(f"{ACTOR}.{other}.")]


def _removed(key: str, extra: Mapping[str, Any]) -> bool:
    """Whether the section `verl` gives a setting of ours anew: with other signs, or piece by piece."""
    name = key.lstrip("+")
    return any(
        one != key and (bare == name or bare.startswith(f"{name}."))
        for one in extra
        for bare in (one.lstrip("+~"),)
    )


def unused(recipe: Recipe, cluster: Cluster) -> list[str]:
    """Say which settings of the recipe verl does not act on."""
    extra = dict(extras(recipe))
    said = []
    if recipe.rollout.engine != cluster.rollout:
        said.append(
            f"rollout.engine ({recipe.rollout.engine}) does nothing with verl, whose sampler is "
            f"{cluster.rollout}: --rollout chooses it"
        )
    if _changed(recipe.training, "save_tokens"):
        said.append("training.save_tokens does nothing with verl, which keeps no tokens")
    if recipe.push_to_hub is not None:
        said.append("push_to_hub does nothing with verl: push what `maspo export` writes")
    if cluster.backend == "megatron" and recipe.training.optimizer.name == "adamw":
        said.append("training.optimizer.name does nothing with megatron, whose Adam is fused")
    if recipe.evaluation is not None and _changed(recipe.evaluation, "batch_size"):
        said.append("evaluation.batch_size does nothing with verl, whose server decides it")
    said += [
        f"verl.{key} does nothing with --backend {cluster.backend}"
        for key in _of_the_other_backend(extra, cluster)
    ]
    if dynamic(extra) and _changed(recipe.training, "micro_batch"):
        said.append("training.micro_batch does nothing with dynamic batches, which count tokens")
    if own_reward(extra) and _changed(recipe, "reward"):
        said.append(f"reward is not used in training: verl.{CUSTOM}.path names another one")
    return said


def _changed(section: Section, field: str) -> bool:
    return getattr(section, field) != type(section).model_fields[field].default


def extras(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """List the settings under `verl` by their dotted names there."""

    def walk(section: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for key, value in section.items():
            if isinstance(value, Mapping) and value:
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
    cluster.replicas(extra)
    processes = cluster.data_parallel(extra)
    whole = recipe.completions_per_update
    objective, coupling = recipe.make_objective(), recipe.training.coupling
    check_objective(objective)
    if dynamic(extra):
        if whole % processes:
            raise InputError(
                f"updates of {whole} completions cannot be dealt to {processes} processes"
            )
        check_coupling(objective, 0, whole, coupling)
        return
    try:
        check_division(recipe, processes)
    except ValueError as error:
        raise InputError(str(error)) from None
    check_coupling(objective, recipe.training.micro_batch * processes, whole, coupling)
