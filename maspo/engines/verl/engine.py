"""verl as an engine: facts about it, and where its parts are. Importing this imports neither verl nor Ray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maspo.engines.engine import Launch, LaunchedEngine
from maspo.engines.verl.names import OWNED_BY_THE_OBJECTIVE, SUPPORTED, VERL_MAY_CHANGE
from maspo.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from maspo.core.objective import Objective
    from maspo.engines.verl.cluster import Cluster
    from maspo.recipes.schema import Recipe
    from maspo.sampling import Sample


class VerlEngine(LaunchedEngine):
    """Stock verl with our plug-in, as a command of its own; see `LaunchedEngine`."""

    name = "verl"
    about = "on many machines"
    supported = SUPPORTED
    options = frozenset({"nodes", "gpus_per_node", "backend", "rollout", "submit", "dry_run"})
    owned_settings = OWNED_BY_THE_OBJECTIVE
    may_change = VERL_MAY_CHANGE

    def check(self, recipe: Recipe, launch: Launch, folder: Path, *, strict: bool = False) -> None:
        """Translate the recipe and have verl's own checks made on it, without Ray."""
        from maspo.engines.verl.launch import checked_overrides

        checked_overrides(recipe, cluster(launch), folder.absolute(), strict=strict)

    def shares(self, recipe: Recipe, launch: Launch) -> int:
        """Count the data-parallel processes."""
        from maspo.engines.verl.translate import extras

        return cluster(launch).data_parallel(dict(extras(recipe)))

    def unused(self, recipe: Recipe, launch: Launch) -> list[str]:
        """Name what verl's server decides, and what it does not keep."""
        from maspo.engines.verl.translate import unused

        return unused(recipe, cluster(launch))

    def probe(self, objective: Objective) -> Tensor:
        """Put two tokens through verl's own `ppo_loss`."""
        self.supported.check()
        from maspo.engines.verl.probe import weights_of

        return weights_of(objective)

    def examine(self, recipe: Recipe) -> Iterator[str]:
        """Say what is registered and from where, and what a run would train."""
        self.supported.check()
        from maspo.engines.verl.probe import examine

        return examine(recipe)

    def command(self, recipe: Recipe, launch: Launch, folder: Path) -> list[str]:
        """Return `verl.trainer.main_ppo` with everything the recipe decides."""
        from maspo.engines.verl.launch import command
        from maspo.engines.verl.translate import overrides

        settings = overrides(recipe, cluster(launch), folder.absolute())
        return command(settings, elsewhere=launch.submit is not None)

    def printed(self, words: Sequence[str]) -> str:
        """Write the command, an argument on each line."""
        from maspo.engines.verl.launch import printed

        return printed(words)

    def submission(self, launch: Launch, folder: Path) -> list[str] | None:
        """Return the job of Ray's that runs the command."""
        from maspo.engines.verl.launch import submission

        return None if launch.submit is None else submission(launch.submit, folder.absolute())

    def obstacles(self, recipe: Recipe, launch: Launch, folder: Path) -> list[str]:
        """Name missing packages and GPUs, and a cluster that does not answer."""
        from maspo.engines.verl.launch import obstacles
        from maspo.engines.verl.ray_cluster import check_submission

        if launch.submit is None:
            return list(obstacles(recipe, cluster(launch)))
        try:
            check_submission(launch.submit, folder.absolute())
        except InputError as error:
            return [str(error)]
        return []

    def provide(self, recipe: Recipe, launch: Launch, folder: Path) -> None:
        """Write the problems as verl reads them, but for what the section `verl` names files of."""
        from maspo.engines.verl.export import write_problems
        from maspo.engines.verl.sections import PROBLEMS, own_files
        from maspo.engines.verl.translate import extras

        extra = dict(extras(recipe))
        files = {"train": "data.train_files", "test": "data.val_files"}
        parts = [part for part, key in files.items() if not own_files(extra, key)]
        write_problems(recipe, folder / PROBLEMS, parts=parts, anew=True)

    def metrics(self, recipe: Recipe, folder: Path) -> list[dict[str, Any]]:
        """Read the file of verl's logger."""
        from maspo.engines.verl.written import read_metrics

        limit = recipe.rollout.max_completion_tokens
        return read_metrics(folder, recipe.training.updates_per_rollout, limit)

    def validations(self, recipe: Recipe, folder: Path) -> dict[int, list[Sample]]:
        """Read the files of verl's validations."""
        from maspo.engines.verl.written import read_validations

        return read_validations(folder, recipe.seed)

    def latest(self, folder: Path) -> tuple[Path | None, int]:
        """Return the checkpoint that verl would go on from."""
        from maspo.engines.verl.written import latest_checkpoint

        return latest_checkpoint(folder)

    def export(self, checkpoint: Path, target: Path) -> None:
        """Have verl's own merger put the shards together."""
        from maspo.engines.verl.merge import merge

        merge(checkpoint, target)


def cluster(launch: Launch) -> Cluster:
    """Return what a run is spread over, verl's defaults in place of what was not given."""
    from maspo.engines.verl.cluster import Cluster

    given = launch.given()
    return Cluster(**{name: given[name] for name in given if name not in ("submit", "dry_run")})


ENGINE = VerlEngine()
