# pyright: reportMissingImports=false
"""The runs of a race as tasks of a Ray cluster. The machines share no folder: files travel with the task."""

from __future__ import annotations

import io
import logging
import os
import shutil
import socket
import tarfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from maspo.errors import InputError
from maspo.lab.race.executors import POLL, start_training
from maspo.lab.race.folder import RaceFolder, version_conflict
from maspo.lab.race.plan import Plan, Trial
from maspo.lab.run.folder import RunFolder

WEIGHTS = ("model", "adapter", "checkpoints")
"""Parts of a run's folder that stay on the machine that trained, and are removed there."""

CONNECT_SECONDS = 10
"""Seconds in which a cluster has to take a connection."""


@dataclass(frozen=True, kw_only=True)
class RayCluster:
    """A cluster, and what of it each run of a race has to itself."""

    address: str
    """As `ray.init` takes it: `auto`, host:port, ray://host:port, or `local` for one on this machine."""
    gpus: float = 1.0
    """Of each run; less than 1 are shared, and with more each is a process of the run's."""

    def check(self) -> None:
        """Raise InputError for GPUs that cannot be given to a run."""
        if self.gpus < 0 or (self.gpus > 1 and self.gpus != int(self.gpus)):
            raise InputError(
                f"--gpus-per-run must be 0, a part of 1 or a whole number, not {self.gpus:g}"
            )

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Connect this process to the cluster while the block runs; InputError where it cannot be."""
        try:
            import ray
        except ModuleNotFoundError:
            raise InputError("--ray needs a package: pip install 'maspo[ray]'") from None
        self._knock()
        try:
            ray.init(address=self.address, logging_level=logging.ERROR, log_to_driver=False)
        except Exception as error:  # of many types, by way and version
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise InputError(f"no Ray cluster answers at {self.address}: {reason}") from None
        try:
            yield
        finally:
            ray.shutdown()

    def _knock(self) -> None:
        """Raise InputError where nothing listens at the address: Ray itself would try for minutes."""
        host, colon, port = self.address.removeprefix("ray://").rpartition(":")
        if not (colon and port.isdecimal()):
            return
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
        except OSError as error:
            raise InputError(f"no Ray cluster answers at {self.address}: {error}") from None

    def room(self, threads: int) -> int:
        """Count the runs that fit into the cluster at once; InputError where not even one does."""
        import ray

        there = ray.cluster_resources()
        cores, gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
        room = int(cores // threads)
        if self.gpus:
            room = min(room, int(gpus / self.gpus))
        if room < 1:
            hint = "; --gpus-per-run 0 trains on CPUs" if self.gpus and not gpus else ""
            raise InputError(
                f"the Ray cluster at {self.address} has {cores:g} cores and {gpus:g} GPUs, where a run asks "
                f"for {threads} and {self.gpus:g}{hint}"
            )
        return room


class RayExecutor:
    """Starts each run as a task of the cluster that this process is connected to."""

    def __init__(self, plan: Plan, folder: RaceFolder, threads: int, cluster: RayCluster) -> None:
        """Take the race, the cores of each run, and the cluster."""
        self.plan, self.folder, self.threads, self.cluster = plan, folder, threads, cluster

    def start(self, trial: Trial) -> RayJob:
        """Send a run to the cluster, with what of it is there already."""
        import ray

        recipe = self.folder.prepare(self.plan, trial)
        words = ["--engine", self.plan.engine, *self.plan.launch.words()]
        if self.cluster.gpus > 1:
            words += ["--gpus", str(int(self.cluster.gpus))]
        asked = TrialTask(
            name=trial.name,
            recipe=recipe.read_text("utf-8"),
            parcel=pack(self.folder.run_folder(trial)),
            words=words,
            threads=self.threads,
            directory=os.getcwd(),
            versions=self.folder.manifest["provenance"]["versions"],
        )
        task = ray.remote(carry_out).options(
            num_cpus=self.threads, num_gpus=self.cluster.gpus, name=trial.name
        )
        return RayJob(task.remote(asked), self.folder.run_folder(trial), self.folder.log(trial))


class RayJob:
    """A run on the cluster."""

    def __init__(self, task: Any, place: Path, log: Path) -> None:
        """Take Ray's reference to its result, and where folder and words of the run go."""
        self.task, self.place, self.log = task, place, log

    def poll(self) -> int | None:
        """Return its exit code once its files are here; None before."""
        import ray

        if not ray.wait([self.task], timeout=0)[0]:
            return None
        try:
            result: TaskResult = ray.get(self.task)
        except ray.exceptions.RayError as error:
            reason = " ".join(str(error).split())
            self.log.write_text(f"maspo: its Ray task failed: {reason:.200}\n", "utf-8")
            return 1
        self.log.write_bytes(result.said)
        coming = self.place.with_name(self.place.name + ".coming")
        for old in (coming, self.place):
            shutil.rmtree(old, ignore_errors=True)
        unpack(result.parcel, coming)
        coming.rename(self.place)
        return result.code

    def stop(self) -> None:
        """Ask it to end; what it has done is lost."""
        import ray

        ray.cancel(self.task)

    def wait(self) -> None:
        """Wait until it has ended, or for half a minute: a machine may be out of reach."""
        import ray

        ray.wait([self.task], timeout=30)


class TrialTask(NamedTuple):
    """What a machine of the cluster needs to carry out a run."""

    name: str
    recipe: str
    parcel: bytes
    """What the run's folder holds already."""
    words: list[str]
    """Options of `maspo train`."""
    threads: int
    directory: str
    """In which the race was started: relative paths of the recipe are meant from there."""
    versions: dict[str, str]
    """Of packages, which must be the same in all runs."""


class TaskResult(NamedTuple):
    """What comes back from it."""

    code: int
    said: bytes
    parcel: bytes
    """The run's folder, without weights; of a run that failed not in a state to go on from."""


def carry_out(asked: TrialTask) -> TaskResult:
    """Do a run on this machine, in a folder that is gone afterwards."""
    if (conflict := version_conflict(asked.versions)) is not None:
        words = f"maspo: the race was {conflict} on a machine of the cluster\n"
        return TaskResult(code=2, said=words.encode(), parcel=asked.parcel)
    directory = asked.directory if Path(asked.directory).is_dir() else None
    with TemporaryDirectory(prefix="maspo-race-") as made:
        place, recipe, log = (Path(made, part) for part in (asked.name, "recipe.yaml", "log.txt"))
        recipe.write_text(asked.recipe, "utf-8")
        unpack(asked.parcel, place)
        process = start_training(
            recipe, place, log, asked.words, threads=asked.threads, directory=directory
        )
        try:
            while process.poll() is None:  # Ray's interrupt ends no system call
                time.sleep(POLL)
        finally:
            process.terminate()
            process.wait()
        code = process.returncode
        left_out = {*WEIGHTS} | ({RunFolder.UNFINISHED} if code else set())
        return TaskResult(code=code, said=log.read_bytes(), parcel=pack(place, left_out))


def pack(folder: Path, left_out: Collection[str] = ()) -> bytes:
    """Return a folder, which need not exist, as a compressed archive without some of its parts."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for part in sorted(folder.iterdir()) if folder.is_dir() else ():
            if part.name not in left_out:
                archive.add(part, part.name)
    return packed.getvalue()


def unpack(parcel: bytes, folder: Path) -> None:
    """Write what `pack` returned into a folder."""
    folder.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(parcel)) as archive:
        archive.extractall(folder, filter="data")
