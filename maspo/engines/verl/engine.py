"""verl as an engine: facts about it, and where its parts are. Importing this imports neither verl nor Ray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maspo.engines.engine import Launch, LaunchedEngine
from maspo.engines.verl.names import OWNED_BY_THE_OBJECTIVE, SUPPORTED

if TYPE_CHECKING:
    from torch import Tensor

    from maspo.core.objective import Objective
    from maspo.engines.verl.translate import Cluster
    from maspo.recipes.schema import Recipe


class VerlEngine(LaunchedEngine):
    """Stock verl with our plug-in, as a command of its own; see `LaunchedEngine`."""

    name = "verl"
    about = "on many machines"
    supported = SUPPORTED
    options = frozenset({"nodes", "gpus_per_node", "backend", "rollout", "submit", "dry_run"})
    owned_settings = OWNED_BY_THE_OBJECTIVE

    def check(self, recipe: Recipe, launch: Launch, folder: Path, *, strict: bool = False) -> None:
        """Translate the recipe and have verl's own checks made on it, without Ray."""
        from maspo.engines.verl.launch import checked_overrides

        checked_overrides(recipe, cluster(launch), folder.absolute(), strict=strict)

    def shares(self, recipe: Recipe, launch: Launch) -> int:
        """Count the data-parallel processes."""
        from maspo.engines.verl.translate import data_parallel, extras

        return data_parallel(cluster(launch), dict(extras(recipe)))

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

        return command(overrides(recipe, cluster(launch), folder.absolute()), launch.submit)

    def printed(self, words: Sequence[str]) -> str:
        """Write the command, an argument on each line."""
        from maspo.engines.verl.launch import printed

        return printed(words)

    def provide(self, recipe: Recipe, launch: Launch, folder: Path) -> None:
        """Check the GPUs of a run that starts Ray itself, and write the problems as verl reads them."""
        from maspo.engines.verl.export import write_problems
        from maspo.engines.verl.launch import check_devices

        if launch.submit is None:
            check_devices(cluster(launch))
        write_problems(recipe, folder / "data")


def cluster(launch: Launch) -> Cluster:
    """Return what a run is spread over, verl's defaults in place of what was not given."""
    from maspo.engines.verl.translate import Cluster

    given = launch.given()
    return Cluster(**{name: given[name] for name in given if name not in ("submit", "dry_run")})


ENGINE = VerlEngine()
