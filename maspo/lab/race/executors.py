"""What carries out the runs of a race: on this machine processes, one for each run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from maspo.lab.race.devices import least_used, visible_gpus
from maspo.lab.race.folder import RaceFolder
from maspo.lab.race.plan import Plan, Trial

POLL = 0.3
"""Seconds between two looks at running trials."""


class TrialJob(Protocol):
    """A run that goes on somewhere."""

    def poll(self) -> int | None:
        """Return its exit code once it has ended; None before.

        What it wrote and said is in the folder of the race then.
        """
        ...

    def stop(self) -> None:
        """Ask it to end."""
        ...

    def wait(self) -> None:
        """Wait until it has ended."""
        ...


class Executor(Protocol):
    """Starts runs of a race."""

    def start(self, trial: Trial) -> TrialJob:
        """Begin a run, or go on with it."""
        ...


def start_training(
    recipe: Path,
    place: Path,
    log: Path,
    words: Sequence[str],
    *,
    threads: int,
    gpu: str | None = None,
    directory: str | None = None,
) -> subprocess.Popen[bytes]:
    """Start `maspo train` on a recipe, in a process of its own.

    Args:
        recipe, place, log: its file, the folder of the run, and the file of what it says.
        words: more options.
        threads: that it computes with.
        gpu: the only one that it sees; None: all that this process sees.
        directory: from which relative paths of the recipe are meant; None: that of this process.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    with log.open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "maspo", "train", str(recipe), "--out", str(place), *words],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=environment,
            start_new_session=True,  # Ctrl-C in a terminal reaches this process alone
        )


class LocalJob:
    """A run in a process of this machine."""

    def __init__(self, process: subprocess.Popen[bytes], gpu: str | None) -> None:
        """Take its process and the GPU that it has."""
        self.process, self.gpu = process, gpu

    def poll(self) -> int | None:
        """Return its exit code, or None while it goes on."""
        return self.process.poll()

    def stop(self) -> None:
        """Ask it to end."""
        self.process.terminate()

    def wait(self) -> None:
        """Wait until it has ended."""
        self.process.wait()


class LocalExecutor:
    """Starts each run in a process of this machine, on the GPU that the fewest others use."""

    def __init__(self, plan: Plan, folder: RaceFolder, threads: int) -> None:
        """Take the race, and how many threads each run has."""
        self.plan, self.folder, self.threads = plan, folder, threads
        self.gpus = visible_gpus()
        self.jobs: list[LocalJob] = []

    def start(self, trial: Trial) -> LocalJob:
        """Begin a run, or go on with it."""
        recipe = self.folder.prepare(self.plan, trial)
        self.jobs = [job for job in self.jobs if job.poll() is None]
        gpu = least_used(self.gpus, [job.gpu for job in self.jobs])
        place, log = self.folder.run_folder(trial), self.folder.log(trial)
        words = ["--engine", self.plan.engine, *self.plan.launch.words()]
        process = start_training(recipe, place, log, words, threads=self.threads, gpu=gpu)
        self.jobs.append(LocalJob(process, gpu))
        return self.jobs[-1]
