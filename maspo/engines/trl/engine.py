"""TRL as an engine: facts about it, and where its parts are. Importing this does not import TRL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maspo.engines.engine import InProcessEngine, Launch, Trained, TrainingJob
from maspo.engines.trl.names import OWNED_BY_THE_OBJECTIVE, SUPPORTED
from maspo.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from maspo.core.objective import Objective
    from maspo.recipes.schema import Recipe
    from maspo.sampling.processes import Processes


class TRLEngine(InProcessEngine):
    """TRL's GRPOTrainer with the objective in place of its loss; see `InProcessEngine`."""

    name = "trl"
    about = "on one machine"
    supported = SUPPORTED
    options = frozenset()
    owned_settings = OWNED_BY_THE_OBJECTIVE

    def check(self, recipe: Recipe, launch: Launch, folder: Path, *, strict: bool = False) -> None:
        """Make TRL's settings, which checks them, and look how the processes are dealt out."""
        self.supported.check()
        if recipe.rollout.engine == "vllm":
            _check_vllm(recipe)
        from maspo.engines.trl.translate import trl_config

        config = trl_config(recipe, folder, strict=strict)
        from maspo.engines.trl import MASPOTrainer
        from maspo.engines.trl.evidence import prove
        from maspo.engines.trl.sharding import check_sharding

        check_sharding(config, recipe.model.quantization)
        prove(config.objective, MASPOTrainer)

    def shares(self, recipe: Recipe, launch: Launch) -> int:
        """Count the processes that `accelerate launch` started."""
        return int(os.environ.get("WORLD_SIZE", "1"))

    def unused(self, recipe: Recipe, launch: Launch) -> list[str]:
        """Return nothing: TRL acts on all of it."""
        return []

    def probe(self, objective: Objective) -> Tensor:
        """Put two tokens through TRL's own loss in our trainer."""
        self.supported.check()
        from maspo.engines.trl import MASPOTrainer
        from maspo.engines.trl.probe import weights_in_trl

        return weights_in_trl(objective, MASPOTrainer)

    def examine(self, recipe: Recipe) -> Iterator[str]:
        """Say how the installed version stands, and what a run of the recipe would train."""
        from maspo.engines.trl.evidence import standing

        yield from standing()
        yield f"a run of {recipe.name} would train {recipe.make_objective()}"

    def processes(self) -> Processes:
        """Return the processes as accelerate started them."""
        from maspo.engines.trl import processes

        return processes.AccelerateProcesses()

    def check_model(self, recipe: Recipe, model: Any) -> None:
        """Try the adapters on a copy without weights, and count the weights that are kept of the past."""
        from maspo.engines.trl.adapters import check_model

        check_model(recipe, model)

    def with_adapters(self, recipe: Recipe, model: Any) -> Any:
        """Put PEFT's adapters on the model."""
        from maspo.engines.trl.adapters import with_adapters

        return with_adapters(recipe.model.lora, model) if recipe.model.lora else model

    def in_bfloat16(self, recipe: Recipe, parameters: int) -> bool:
        """Follow `training.precision`."""
        from maspo.engines.trl.translate import in_bfloat16

        return in_bfloat16(recipe.training.precision, parameters)

    def train(self, job: TrainingJob) -> Trained:
        """Train with `MASPOTrainer`."""
        from maspo.engines.trl.training import train

        return train(job)

    def restored(self, recipe: Recipe, path: Path) -> Any:
        """Load the recipe's model anew and put the trained parameters into it."""
        from maspo.engines.trl.restored import restored

        return restored(recipe, path)

    def latest(self, folder: Path) -> tuple[Path | None, int]:
        """Find the newest undamaged checkpoint."""
        from maspo.engines.trl.checkpoint import last_good, step_of

        place = last_good(folder)
        return place, 0 if place is None else step_of(place)

    def keep(self, folder: Path, count: int) -> None:
        """Remove older checkpoints."""
        from maspo.engines.trl.checkpoint import keep_last

        keep_last(folder, count)


def _check_vllm(recipe: Recipe) -> None:
    """Raise InputError where vLLM is missing, or one that makes the rollouts cannot evaluate as well."""
    from maspo.sampling.with_vllm import check_installed, prepare

    check_installed()
    prepare()  # TRL imports it
    if recipe.evaluation is None:
        return
    cure = "set evaluation: null and judge the saved model by maspo eval"
    if recipe.trl.get("vllm_mode") == "server":
        raise InputError(
            "trl.vllm_mode: server makes rollouts alone, as its samples have no seeds of their own; "
            f"take colocate, or {cure}"
        )
    if recipe.trl.get("vllm_tensor_parallel_size", 1) > 1:
        raise InputError(
            "trl.vllm_tensor_parallel_size above 1 makes rollouts alone, as its processes cannot each "
            f"take a share of an evaluation; take 1, or {cure}"
        )


ENGINE = TRLEngine()
