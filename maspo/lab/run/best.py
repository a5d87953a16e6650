"""The best model of a run, where the recipe asks for it: kept on the way, saved at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maspo.engines.engine import InProcessEngine
from maspo.engines.moment import Moment
from maspo.lab.run.evaluations import average_by_rollouts, best_of
from maspo.recipes import Recipe


class Best:
    """Keeps what training has changed, whenever an evaluation has the highest avg@k so far.

    Which one that is follows from the scores on file alone, so that a run which was cut off and goes
    on keeps the same.
    """

    def __init__(self, recipe: Recipe, run: Path, engine: InProcessEngine) -> None:
        """Take the recipe, the folder of the run, and what trains."""
        self._recipe, self._run, self._engine = recipe, run, engine
        self._file = run / "checkpoints" / "best.safetensors"

    @property
    def _wanted(self) -> bool:
        return self._recipe.evaluation is not None and self._recipe.evaluation.keep_best

    def is_at(self, rollouts: int) -> bool:
        """Whether the model after so many rollouts, which is evaluated, is wanted as the best so far."""
        if not self._wanted:
            return False
        before = {n: s for n, s in average_by_rollouts(self._run).items() if n <= rollouts}
        return best_of(before) == rollouts

    def keep(self, moment: Moment) -> None:
        """Keep the model of this moment; every process calls it."""
        self._file.parent.mkdir(exist_ok=True)
        moment.save(self._file)

    def model(self) -> Any | None:
        """Return the best model; None where it is not wanted, or is the last one."""
        best = best_of(average_by_rollouts(self._run)) if self._wanted else None
        if best is None or best == self._recipe.training.rollouts:
            return None
        return self._engine.restored(self._recipe, self._file)

    def let_go(self) -> None:
        """Remove what was kept."""
        self._file.unlink(missing_ok=True)
