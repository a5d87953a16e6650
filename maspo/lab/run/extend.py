"""A run that goes on: with the recipe in its folder, longer or at another learning rate if told so."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maspo import files
from maspo.engines.engine import Engine, InProcessEngine, LaunchedEngine
from maspo.errors import InputError
from maspo.evaluation.folder import RUN_PART
from maspo.lab.run.evaluations import AFTER, name_of
from maspo.lab.run.folder import RunFolder
from maspo.lab.run.resume import CHANGING, MAY_CHANGE, flat
from maspo.recipes import Recipe, dump_recipe, load_recipe
from maspo.recipes.sections.training import Training


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """What a run goes on with."""

    recipe: Recipe
    news: list[str]
    """What changes, in sentences."""


def continuation(
    folder: RunFolder,
    engine: InProcessEngine | LaunchedEngine,
    settings: Sequence[str],
    rollouts: str | None,
) -> Continuation:
    """Read the recipe of the run in `folder` and apply what is to change; nothing is written.

    Args:
        folder: of a run that is finished or not.
        engine: what trains it; knows the checkpoints.
        settings: `key=value` each, of keys in `CHANGING` and `MAY_CHANGE`, and of the engine's own kind.
        rollouts: `+40` for so many more, `50` for so many in all; None for what the recipe has.

    Raises InputError where there is no run, where it is finished and no rollouts are added, or where
    it cannot go on with these changes.
    """
    _check_there(folder)
    place = str(folder.path / "recipe.yaml")
    before = load_recipe(place)
    if rollouts is not None:
        total = _total(rollouts, before.training.rollouts)
        settings = [*settings, f"training.rollouts={total}"]
    recipe = load_recipe(place, settings)
    changes = changes_of(before, recipe)
    free = {*CHANGING, *MAY_CHANGE, *free_settings(engine)}
    for key in changes:
        if key not in free:
            raise InputError(
                f"{key} cannot change in a run that goes on; begin a new one from its model with "
                f"`--set model.source={folder.path / 'model'}`"
            )
    old, new = before.training, recipe.training
    if new.rollouts < old.rollouts:
        raise InputError(f"a run of {old.rollouts} rollouts cannot be cut to {new.rollouts}")
    if folder.finished and new.rollouts == old.rollouts:
        raise InputError(
            f"the run in {folder.path} is finished after {old.rollouts} rollouts; {folder.ways_on()}"
        )
    place, step = engine.latest(folder.path / "checkpoints")
    if isinstance(engine, LaunchedEngine):  # counts rollouts
        step *= old.updates_per_rollout
    if folder.finished and place is None:
        raise InputError(
            f"the run in {folder.path} is finished and left no checkpoint to go on from (training.keep); "
            f"start a new run from its model with `--set model.source={folder.path / 'model'}`"
        )
    if new.rollouts > old.rollouts:
        _check_best(folder, recipe)
    news = [f"{key}: {was} until now, {now} from here on" for key, (was, now) in changes.items()]
    return Continuation(recipe=recipe, news=news + _schedule(old, new, step))


def free_settings(engine: Engine) -> set[str]:
    """Name the keys of a recipe that leave the results of this engine alone, beside `MAY_CHANGE`."""
    if not isinstance(engine, LaunchedEngine):
        return set()
    return {f"{engine.name}.{sign}{key}" for key in engine.may_change for sign in ("", "+")}


def take_over(folder: RunFolder, recipe: Recipe) -> None:
    """Write down in the folder of a run what changes from here on.

    The evaluation at its former end becomes one on the way.
    """
    before = load_recipe(str(folder.path / "recipe.yaml"))
    changes = changes_of(before, recipe)
    if not changes:
        return
    old, new = before.training.rollouts, recipe.training.rollouts
    last = folder.path / RUN_PART / AFTER
    if old != new and last.exists():
        last.rename(last.with_name(name_of(old, new)))
    path = folder.path / "provenance.json"
    known = files.read_json(path)
    entry = {"at": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "settings": changes}
    files.write_json(path, known | {"changes": [*known.get("changes", ()), entry]})
    files.write_text(folder.path / "recipe.yaml", dump_recipe(recipe))


def changes_of(before: Recipe, after: Recipe) -> dict[str, tuple[Any, Any]]:
    """Return the keys in which two recipes differ, with both values."""
    left, right = (
        {key: value for key, value in flat(recipe.model_dump()) if value != {}}
        for recipe in (before, after)
    )
    keys = dict.fromkeys((*left, *right))
    return {k: (left.get(k), right.get(k)) for k in keys if left.get(k) != right.get(k)}


def rate_share(schedule: str, warmup: int, steps: int, step: int) -> float:
    """Return the share of the learning rate in use for the update after `step` of `steps` steps."""
    if schedule != "constant" and step < warmup:
        return step / max(1, warmup)
    progress = (step - warmup) / max(1, steps - warmup)
    if schedule == "linear":
        return max(0.0, 1 - progress)
    if schedule == "cosine":
        return max(0.0, 0.5 * (1 + math.cos(math.pi * progress)))
    return 1.0


def _check_there(folder: RunFolder) -> None:
    if folder.unfinished or folder.finished:
        return
    raise InputError(
        f"{folder.path} holds no run to go on with; give the folder that `maspo train` wrote"
    )


def _total(rollouts: str, before: int) -> int:
    more = rollouts.startswith("+")
    number = rollouts.removeprefix("+")
    if not number.isdecimal() or int(number) == 0:
        raise InputError(f"--rollouts takes +40 for 40 more, or 50 for 50 in all, not {rollouts!r}")
    return int(number) + (before if more else 0)


def _check_best(folder: RunFolder, recipe: Recipe) -> None:
    """Raise InputError where the best model so far may be one that is not on file any more."""
    if recipe.evaluation and recipe.evaluation.keep_best:
        last: Path = folder.path / RUN_PART / AFTER
        if last.exists():
            raise InputError(
                f"the run in {folder.path} keeps the best model (evaluation.keep_best) and has evaluated "
                "its last, so it cannot be extended; start a new run from its model with "
                f"`--set model.source={folder.path / 'model'}`"
            )


def _schedule(old: Training, new: Training, step: int) -> list[str]:
    """Say what a schedule that depends on the length does when the length changes."""
    if new.schedule not in ("linear", "cosine") or old.steps == new.steps:
        return []
    was, now = (
        one.learning_rate * rate_share(one.schedule, one.warmup_steps, one.steps, step)
        for one in (old, new)
    )
    return [
        f"the {new.schedule} schedule now ends after {new.rollouts} rollouts: after step {step} the "
        f"learning rate is {now:.3g}, where it would have been {was:.3g}"
    ]
