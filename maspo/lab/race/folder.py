"""The folder of a race: its plan, its runs, and what became of them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maspo import files
from maspo.errors import InputError
from maspo.evaluation.folder import RUN_PART
from maspo.lab.provenance import FRAMEWORKS, provenance
from maspo.lab.race.plan import Plan, Trial, race_fingerprint, recipe_text
from maspo.lab.run import evaluations
from maspo.lab.run.folder import RunFolder

BEFORE_IN_RUN = f"{RUN_PART}/{evaluations.BEFORE}"
"""The evaluation before training, in the folder of a run."""

FIXED = ("maspo", "torch", *FRAMEWORKS, "transformers")
"""Packages whose versions must be the same in all runs of a race."""


def version_conflict(began: Mapping[str, str]) -> str | None:
    """Say, without an end, which package is not of the version that a race began with; None: none."""
    now = provenance(0)["versions"]
    for name in FIXED:
        if began.get(name) != now.get(name):
            return f"begun with {name} {began.get(name)}, and {now.get(name)} is installed"
    return None


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one run."""

    trial: Trial
    summary: dict[str, Any] | None = None
    """Of a finished run, its summary.json."""
    rows: tuple[dict[str, Any], ...] = ()
    """The lines of its metrics, as far as there are any."""
    failure: str | None = None
    """Why it ended without a summary; None where it finished or was not run."""

    @property
    def score(self) -> float | None:
        """The first score after training, avg@k."""
        if self.summary is None:
            return None
        return self.summary["after"][self.metric]

    @property
    def metric(self) -> str:
        """Name of that score; of a run without one `score`."""
        after = self.summary["after"] if self.summary else {}
        return next((key for key in after if key.startswith("avg@")), "score")


class RaceFolder:
    """A folder that holds one race and nothing else.

    manifest.json (plan, fingerprint, threads, provenance), trials/<run>/ (run folders), recipes/ and
    logs/ (by run), failed.json (reasons by run); then report.html, report.md, results.json, plots/.
    """

    def __init__(self, path: Path) -> None:
        """Point at `path`, which need not exist."""
        self.path = path

    @classmethod
    def choose(cls, out: str | None, name: str) -> RaceFolder:
        """Take the folder `out`, or one named after the recipe and the time."""
        return cls(Path(out or f"runs/race-{name}-{time.strftime('%Y%m%d-%H%M%S')}"))

    @property
    def begun(self) -> bool:
        """Whether the folder holds a race."""
        return (self.path / "manifest.json").exists()

    @property
    def manifest(self) -> dict[str, Any]:
        """What manifest.json holds; InputError where there is none."""
        if not self.begun:
            raise InputError(f"{self.path} holds no race")
        return files.read_json(self.path / "manifest.json")

    def threads(self, new: int) -> int:
        """Return how many threads each run has, in a race that begins `new`.

        One that goes on keeps the number it began with, because results depend on it.
        """
        return self.manifest["threads"] if self.begun else new

    def open(self, plan: Plan, threads: int) -> int:
        """Begin the race, or go on with it; return the number of threads that each run has.

        Raises InputError where the folder holds something else or another race.
        """
        planned = plan.describe()
        if self.begun:
            self._check(planned)
            return self.threads(threads)
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise InputError(
                f"{self.path} already holds something that is no race; choose another --out"
            )
        for part in ("trials", "recipes", "logs"):
            (self.path / part).mkdir(parents=True)
        origin = provenance(plan.recipe.seed)
        made = {
            "fingerprint": race_fingerprint(planned),
            "threads": threads,
            "plan": planned,
            "provenance": origin,
        }
        files.write_json(self.path / "manifest.json", made)
        return threads

    def _check(self, planned: dict[str, Any]) -> None:
        manifest = self.manifest
        if race_fingerprint(planned) != manifest["fingerprint"]:
            other = [key for key in planned if planned[key] != manifest["plan"].get(key)]
            raise InputError(
                f"{self.path} holds another race, which differs in {', '.join(other)}; choose another --out"
            )
        if (conflict := version_conflict(manifest["provenance"]["versions"])) is not None:
            raise InputError(
                f"{self.path} was {conflict} now: runs of both cannot be compared; choose another --out"
            )

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes off the race while the block runs; InputError where one works on it."""
        with files.claimed(self.path, f"another process works on the race in {self.path}"):
            yield

    def plan(self) -> Plan:
        """Read the plan."""
        return Plan.read(self.manifest["plan"])

    def run_folder(self, trial: Trial) -> Path:
        """Where a run is written."""
        return self.path / "trials" / trial.name

    def log(self, trial: Trial) -> Path:
        """What a run said."""
        return self.path / "logs" / f"{trial.name}.txt"

    def prepare(self, plan: Plan, trial: Trial) -> Path:
        """Write the recipe of a run, make its folder ready, and give the recipe's path.

        A run that was interrupted goes on. A new one takes over the evaluation before training from
        another run of its seed, which is the same.
        """
        place = self.run_folder(trial)
        if not (place / RunFolder.UNFINISHED).exists():
            shutil.rmtree(place, ignore_errors=True)
            scored = f"*-seed{trial.seed}/{BEFORE_IN_RUN}/scores.json"
            if known := next((self.path / "trials").glob(scored), None):
                shutil.copytree(known.parent, place / BEFORE_IN_RUN)
        path = self.path / "recipes" / f"{trial.name}.yaml"
        files.write_text(path, recipe_text(plan, trial))
        return path

    def finished(self, trial: Trial) -> bool:
        """Whether a run has its summary."""
        place = self.run_folder(trial)
        return (place / "summary.json").exists() and not (place / RunFolder.UNFINISHED).exists()

    def failures(self) -> dict[str, str]:
        """Give the reasons why runs failed, by name."""
        path = self.path / "failed.json"
        return files.read_json(path) if path.exists() else {}

    def note_failure(self, trial: Trial, reason: str) -> None:
        """Remember why a run failed."""
        files.write_json(self.path / "failed.json", self.failures() | {trial.name: reason})

    def forget_failures(self, trials: Iterable[Trial]) -> None:
        """Forget why these runs failed, as they are done again."""
        again = {trial.name for trial in trials}
        kept = {name: why for name, why in self.failures().items() if name not in again}
        files.write_json(self.path / "failed.json", kept)

    def steps(self, trial: Trial) -> int:
        """Count the optimizer steps that a run has logged."""
        try:
            return (self.run_folder(trial) / "metrics.jsonl").read_bytes().count(b"\n")
        except OSError:
            return 0

    def seconds(self, trial: Trial) -> float:
        """How long a finished run took."""
        return self._summary(trial)["total_seconds"]

    def _summary(self, trial: Trial) -> dict[str, Any]:
        return files.read_json(self.run_folder(trial) / "summary.json")

    def result(self, trial: Trial) -> Result:
        """Read what became of a run."""
        path = self.run_folder(trial) / "metrics.jsonl"
        finished = self.finished(trial)
        return Result(
            trial=trial,
            summary=self._summary(trial) if finished else None,
            rows=tuple(files.read_lines(path, torn=True)),
            failure=None if finished else self.failures().get(trial.name),
        )
