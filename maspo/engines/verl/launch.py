# pyright: reportMissingImports=false
"""A recipe as one command of verl, printed in full and run."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from pathlib import Path

from maspo.data.sources import is_file
from maspo.engines.verl.cluster import ROLLOUT, ROLLOUTS, Cluster
from maspo.engines.verl.names import ENTRY_POINT, SUPPORTED
from maspo.engines.verl.sections import own_files
from maspo.engines.verl.translate import extras, overrides, unused
from maspo.errors import InputError
from maspo.objectives.advice import INERT
from maspo.recipes import Recipe

MODULE = "verl.trainer.main_ppo"
PLUGIN = "maspo.engines.verl.plugin"
COMMAND = "command.sh"
"""The file in the folder of a run that holds the command."""


def command(settings: Sequence[str], *, elsewhere: bool = False) -> list[str]:
    """Give the words of the command, with this Python, or with that of the machine it is sent to."""
    return ["python3" if elsewhere else sys.executable, "-m", MODULE, *settings]


def submission(address: str, folder: Path) -> list[str]:
    """Give the words that have the cluster at `address` run the command in `folder`."""
    return ["ray", "job", "submit", f"--address={address}", "--", "bash", str(folder / COMMAND)]


def printed(words: Sequence[str]) -> str:
    """Write a command as one can paste it into a shell, an argument on each line."""
    start = next(i for i, word in enumerate(words) if word == MODULE) + 1
    lines = [shlex.join(words[:start]), *map(shlex.quote, words[start:])]
    return " \\\n  ".join(lines)


def checked_overrides(
    recipe: Recipe, cluster: Cluster, folder: Path, *, strict: bool = False
) -> list[str]:
    """Translate a recipe and have verl's own checks made on it, without Ray; give the overrides.

    Raises InputError for everything that can be known to be wrong before a run; under `strict` also
    where no gate could act, and for settings that verl does not act on.
    """
    settings = overrides(recipe, cluster, folder)
    check_files(recipe)
    SUPPORTED.check()
    check_entry_point()
    check_neighbours()
    check_adapters(recipe, cluster)
    from maspo.engines.verl.compose import checked_objective, compose_config

    found = checked_objective(compose_config(settings))
    if found != recipe.make_objective():
        raise InputError(
            f"a setting under verl changes the objective from {recipe.make_objective()} to {found}; set it "
            "under objective"
        )
    if strict and recipe.training.updates_per_rollout == 1:
        raise InputError(INERT)
    if strict and (ignored := unused(recipe, cluster)):
        raise InputError(ignored[0])
    return settings


def check_files(recipe: Recipe) -> None:
    """Raise InputError for a file of problems that is not there; those on a hub are not asked for."""
    extra = dict(extras(recipe))
    named = [path for kind in ("train", "val") for path in own_files(extra, f"data.{kind}_files")]
    parts = [recipe.data, *([] if recipe.evaluation is None else [recipe.evaluation.data])]
    named += [part.source for part in parts if is_file(part.source)]
    for path in named:
        if "://" not in path and not Path(path).exists():
            raise InputError(f"there is no file {path}")


def check_entry_point() -> None:
    """Raise InputError where verl's processes would not find our plug-in."""
    policy = os.environ.get("VERL_USE_EXTERNAL_PLUGINS", "auto").strip().lower()
    allowed = policy == "auto" or ENTRY_POINT in policy.split(",")
    by_entry_point = allowed and ENTRY_POINT in entry_points(group="verl.plugins").names
    if not by_entry_point and PLUGIN not in os.environ.get("VERL_USE_EXTERNAL_MODULES", ""):
        raise InputError(
            "verl's processes would not load our plug-in: install the package with pip and let "
            f"VERL_USE_EXTERNAL_PLUGINS allow maspo, or set VERL_USE_EXTERNAL_MODULES={PLUGIN}"
        )


def check_neighbours() -> None:
    """Raise InputError where TRL is installed beside verl, in a version whose parts verl does not find."""
    from verl.utils.import_utils import is_trl_available

    trl = find_spec("trl")  # looked at as files: importing TRL takes seconds
    if not is_trl_available() or trl is None or trl.origin is None:
        return
    if not (Path(trl.origin).parent / "experimental" / "ppo").exists():
        raise InputError(
            f"verl's workers would fail: they import from TRL what TRL {version('trl')} no longer has; "
            "give verl an environment of its own, without TRL"
        )


def check_adapters(recipe: Recipe, cluster: Cluster) -> None:
    """Raise InputError where verl would ask a vLLM that is not there about the rank of an adapter."""
    if (
        recipe.model.lora is not None
        and _sampler(recipe, cluster) == "vllm"
        and not find_spec("vllm")
    ):
        raise InputError(
            "verl asks vLLM which ranks of an adapter (model.lora) it takes, and vLLM is not installed here"
        )


def _sampler(recipe: Recipe, cluster: Cluster) -> str:
    return dict(extras(recipe)).get(f"{ROLLOUT}.name", cluster.rollout)


def obstacles(recipe: Recipe, cluster: Cluster) -> Iterator[str]:
    """Say what this machine lacks to carry out a recipe, a sentence for each.

    A cluster that runs already may have the GPUs that this machine lacks; its processes have the
    packages of this one.
    """
    from maspo.engines.verl.ray_cluster import running_cluster

    try:
        if running_cluster() is None:
            yield from _missing_devices(recipe, cluster)
    except InputError as error:
        yield str(error)
    sampler = _sampler(recipe, cluster)
    needed = [sampler] if sampler in ROLLOUTS else []
    needed += ["megatron.core"] if cluster.backend == "megatron" else []
    for name in needed:
        if not _there(name):
            yield f"{name} is not installed; docs/from-one-machine-to-many.md has the line that does it"


def _there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the package above it
        return False


def _missing_devices(recipe: Recipe, cluster: Cluster) -> Iterator[str]:
    """Say which devices Ray would wait for, for ever."""
    from verl.plugin.platform import get_platform

    promised = {key.lstrip("+"): value for key, value in extras(recipe)}
    found = promised.get("ray_kwargs.ray_init.num_gpus", get_platform().device_count())
    if cluster.nodes > 1 or found < cluster.gpus_per_node:
        yield (
            f"{cluster.nodes} x {cluster.gpus_per_node} GPUs are asked for, this machine alone has {found}, "
            "and no cluster of Ray's was found: start or name one (`ray start`, RAY_ADDRESS, --submit)"
        )
