# pyright: reportMissingImports=false
"""A recipe as one command of verl, printed in full and run."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from pathlib import Path

from maspo.engines.verl.names import ENTRY_POINT, SUPPORTED
from maspo.engines.verl.translate import Cluster, overrides, unused
from maspo.errors import InputError
from maspo.objectives.advice import INERT
from maspo.recipes import Recipe

MODULE = "verl.trainer.main_ppo"


def command(settings: Sequence[str], submit: str | None = None) -> list[str]:
    """Give the words of the command: verl here, or through `ray job submit` on the cluster at `submit`."""
    if submit is None:
        return [sys.executable, "-m", MODULE, *settings]
    return ["ray", "job", "submit", f"--address={submit}", "--", "python3", "-m", MODULE, *settings]


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
    SUPPORTED.check()
    check_entry_point()
    check_neighbours()
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


def check_entry_point() -> None:
    """Raise InputError where verl's processes would not find our plug-in."""
    module = "maspo.engines.verl.plugin"
    policy = os.environ.get("VERL_USE_EXTERNAL_PLUGINS", "auto").strip().lower()
    allowed = policy == "auto" or ENTRY_POINT in policy.split(",")
    by_entry_point = allowed and ENTRY_POINT in entry_points(group="verl.plugins").names
    if not by_entry_point and module not in os.environ.get("VERL_USE_EXTERNAL_MODULES", ""):
        raise InputError(
            "verl's processes would not load our plug-in: install the package with pip and let "
            f"VERL_USE_EXTERNAL_PLUGINS allow maspo, or set VERL_USE_EXTERNAL_MODULES={module}"
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


def check_devices(cluster: Cluster) -> None:
    """Raise InputError where Ray would wait for ever for devices that this machine does not have.

    Only a run that starts Ray itself is judged: a cluster may have what this machine lacks.
    """
    started = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")
    if os.environ.get("RAY_ADDRESS") or started.exists():
        return
    from verl.plugin.platform import get_platform

    platform, asked = get_platform(), cluster.gpus_per_node
    found = platform.device_count()
    if cluster.nodes > 1 or found < asked:
        raise InputError(
            f"{cluster.nodes} x {asked} GPUs are asked for, this machine alone has {found}, and no cluster "
            "of Ray's was found: start or name one (`ray start`, RAY_ADDRESS, --submit)"
        )
