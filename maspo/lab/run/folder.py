"""The folder of a run: what is written where."""

from __future__ import annotations

import time
from pathlib import Path

from maspo.errors import InputError
from maspo.files import LOCK, TEMPORARY


class RunFolder:
    """A folder that holds one run and nothing else.

    recipe.yaml, provenance.json, metrics.jsonl, evaluations/ (`before`, `after` and what lies between,
    folders as `maspo eval` writes them), summary.json, model/, plots/ and report.html; JSON holds null
    where a number is not finite.
    Until the run is finished there is a file more, which says what run it is.
    """

    UNFINISHED = "unfinished.json"

    def __init__(self, path: Path) -> None:
        """Point at `path`, which need not exist."""
        self.path = path

    @classmethod
    def choose(cls, out: str | None, name: str, *, unfinished: bool = False) -> RunFolder:
        """Take the folder `out`, or one named after the recipe and the time; InputError if it is used.

        With `unfinished` one that holds an unfinished run may be taken.
        """
        path = Path(out) if out else Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        if path.exists() and not cls._usable(path, unfinished):
            raise InputError(f"{path} already holds something; choose another --out or remove it")
        return cls(path)

    @classmethod
    def _usable(cls, path: Path, unfinished: bool) -> bool:
        if not path.is_dir():
            return False
        # A process that is killed as it begins leaves these.
        left = {"evaluations", LOCK, cls.UNFINISHED + TEMPORARY}
        names = {entry.name for entry in path.iterdir()}
        return (unfinished and cls.UNFINISHED in names) or names <= left

    def create(self) -> None:
        """Make the folder; InputError where that is impossible."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.path} cannot be made: {error.strerror}") from None

    def finish(self) -> None:
        """Mark the run as finished."""
        (self.path / self.UNFINISHED).unlink()
