"""The folder of a run: what is written where."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from maspo.errors import InputError
from maspo.files import LOCK, TEMPORARY

RUNS = Path("runs")
"""Where a run lies that was given no folder."""


class RunFolder:
    """A folder that holds one run and nothing else.

    recipe.yaml, provenance.json, metrics.jsonl, evaluations/ (`before`, `after` and what lies between,
    folders as `maspo eval` writes them), summary.json, model/, with LoRA adapter/ too, plots/ and
    report.html; JSON holds null where a number is not finite.
    One file more says what the result depends on. Its name says whether the run is finished.
    """

    UNFINISHED, FINISHED = "unfinished.json", "finished.json"

    def __init__(self, path: Path) -> None:
        """Point at `path`, which need not exist."""
        self.path = path

    @classmethod
    def choose(cls, out: str | None, name: str, *, unfinished: bool = False) -> RunFolder:
        """Take the folder `out`, or one named after the recipe and the time; InputError if it is used.

        With `unfinished` one that holds an unfinished run may be taken.
        """
        path = Path(out) if out else RUNS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        folder = cls(path)
        if path.exists() and not folder._usable(unfinished):
            raise InputError(folder._what_it_holds())
        return folder

    def _usable(self, unfinished: bool) -> bool:
        if not self.path.is_dir():
            return False
        # A process that is killed as it begins leaves these.
        left = {"evaluations", LOCK, self.UNFINISHED + TEMPORARY}
        names = {entry.name for entry in self.path.iterdir()}
        return (unfinished and self.UNFINISHED in names) or names <= left

    def _what_it_holds(self) -> str:
        if self.finished:
            return (
                f"the run in {self.path} is finished; {self.ways_on()}; or choose another --out for a "
                "new one"
            )
        return f"{self.path} already holds something; choose another --out or remove it"

    @property
    def unfinished(self) -> bool:
        """Whether it holds a run that is not finished."""
        return (self.path / self.UNFINISHED).exists()

    @property
    def finished(self) -> bool:
        """Whether it holds a run that is finished."""
        return not self.unfinished and (self.path / self.FINISHED).exists()

    def resume_command(self, *words: str) -> str:
        """Write the command that goes on with the run, as one can paste it into a shell."""
        return f"maspo resume {shlex.join([str(self.path), *words])}"

    def ways_on(self) -> str:
        """Say how a finished run can be trained further."""
        return (
            f"`{self.resume_command('--rollouts', '+40')}` extends it, `--set "
            f"model.source={self.path / 'model'}` starts a new run from its model"
        )

    def create(self) -> None:
        """Make the folder; InputError where that is impossible."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.path} cannot be made: {error.strerror}") from None

    def finish(self) -> None:
        """Mark the run as finished."""
        (self.path / self.UNFINISHED).replace(self.path / self.FINISHED)
