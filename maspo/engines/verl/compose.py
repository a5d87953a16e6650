# pyright: reportMissingImports=false
"""verl's own configuration, made and checked as verl does it, before anything starts."""

from __future__ import annotations

import contextlib
import difflib
import io
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from maspo.core.objective import Objective
from maspo.engines.verl.limits import check_objective
from maspo.engines.verl.loss import VerlLoss, check_loss_settings, check_method
from maspo.engines.verl.names import estimator_settings
from maspo.engines.verl.plugin import losses
from maspo.errors import InputError, unknown

TRAINERS = ("sync", "colocate_async")
"""The trainers of verl that were run with our losses."""

ROLLOUT_WEIGHTS = ("token", "sequence")
"""What verl weighs against the difference between sampler and trainer."""


def compose_config(overrides: Sequence[str]) -> DictConfig:
    """Compose verl's `ppo_trainer`, as `verl.trainer.main_ppo` does; InputError names what is wrong."""
    GlobalHydra.instance().clear()
    with initialize_config_module("verl.trainer.config", version_base=None):
        try:
            return compose("ppo_trainer", list(overrides))
        except (HydraException, OmegaConfBaseException) as error:
            engine = [text for text in overrides if text.startswith("model_engine=")]
            raise _sentence(error, overrides, compose("ppo_trainer", engine)) from error


def checked_objective(config: DictConfig) -> Objective:
    """Make verl's checks and dataclasses, and give the objective that a run would optimise.

    Raises InputError for whatever verl refuses, for a loss that is not registered or not ours, and for
    settings that verl would not act on.
    """
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import omega_conf_to_dataclass, validate_config

    with _silence():
        try:
            actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
            validate_config(config, need_reference_policy(config), need_critic(config))
        except (HydraException, OmegaConfBaseException, AssertionError, ValueError) as error:
            raise _cause(error) from error
    mode = actor.policy_loss.loss_mode
    try:
        loss = get_policy_loss_fn(mode)
    except ValueError:
        near = difflib.get_close_matches(mode, losses(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"verl has no policy loss {mode!r}{hint}") from None
    if not isinstance(loss, VerlLoss):
        raise InputError(f"policy_loss.loss_mode={mode} is verl's own loss, not one of ours")
    check_trainer(config)
    check_loss_settings(actor, actor.loss_agg_mode)
    objective = loss.objective(actor)
    check_objective(objective)
    check_method(objective, actor, actor.loss_agg_mode)
    check_estimator(actor.policy_loss.get("advantages"), config)
    return objective


def check_trainer(config: DictConfig) -> None:
    """Raise InputError for what verl would only stumble over in a run, and for trainers we have not run."""
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

    if not config.trainer.use_v1:
        raise InputError("trainer.use_v1=False is verl's old trainer, which is not supported here")
    mode = config.trainer.v1.trainer_mode
    if mode not in TRAINERS:
        raise InputError(
            f"trainer.v1.trainer_mode={mode} was never run with our losses; take {' or '.join(TRAINERS)}"
        )
    estimator = str(config.algorithm.adv_estimator)
    if estimator not in ADV_ESTIMATOR_REGISTRY:
        raise unknown("algorithm.adv_estimator", estimator, map(str, ADV_ESTIMATOR_REGISTRY))
    weights = OmegaConf.select(config, "algorithm.rollout_correction.rollout_is")
    if weights not in (None, *ROLLOUT_WEIGHTS):
        raise unknown("algorithm.rollout_correction.rollout_is", str(weights), ROLLOUT_WEIGHTS)


def check_estimator(said: str | None, config: DictConfig) -> None:
    """Raise InputError where `policy_loss.advantages` says another estimator than `algorithm` has."""
    if said is None:
        return
    for key, value in estimator_settings(said).items():
        found = OmegaConf.select(config, key)
        if found != value:
            raise InputError(
                f"policy_loss.advantages={said} means {key}={value}, and that is {found}; set one of them"
            )


def updates_per_rollout(config: DictConfig) -> int:
    """Count the optimizer steps of a rollout."""
    actor = config.actor_rollout_ref.actor
    return config.data.train_batch_size // actor.ppo_mini_batch_size * actor.ppo_epochs


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep to ourselves what verl prints while it checks, and that it has no critic."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.filterwarnings("ignore", message="Disabled critic")
        yield


def _sentence(error: Exception, overrides: Sequence[str], base: DictConfig) -> InputError:
    """Say which override verl's configuration has no place for, and the nearest that it has."""
    known = list(_keys(OmegaConf.to_container(base, resolve=False)))
    for text in overrides:
        key = text.partition("=")[0]
        if not key.startswith(("+", "~", "hydra.", "model_engine")) and key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"to add it write +{key}"
            return InputError(f"verl's configuration has no {key}; {hint}")
    return _cause(error)


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    """List all dotted names, of sections too."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{prefix}{key}"
            yield from _keys(value, f"{prefix}{key}.")


def _cause(error: BaseException) -> InputError:
    """Find our own sentence below what Hydra wrapped around it; else its first line."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, InputError):
            return inner
        last, inner = inner, inner.__cause__ or inner.__context__
    return InputError(f"verl refuses these settings: {' '.join(str(last).split())}")
