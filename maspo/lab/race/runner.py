"""Carries a race out: a few runs at a time, until all are done or time is up."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from maspo.errors import InputError
from maspo.lab.console import Screen
from maspo.lab.formatting import duration, percent
from maspo.lab.race.executors import POLL, Executor, TrialJob
from maspo.lab.race.folder import RaceFolder
from maspo.lab.race.plan import Plan, Trial


@dataclass(kw_only=True)
class _Running:
    trial: Trial
    job: TrialJob
    started: float = field(default_factory=time.monotonic)
    code: int | None = None
    """Of its end; None before."""


class Runner:
    """Has trials of a race carried out."""

    def __init__(
        self,
        plan: Plan,
        folder: RaceFolder,
        screen: Screen,
        executor: Executor,
        *,
        parallel: int,
        budget: float | None,
    ) -> None:
        """Take what is the same for tuning and race.

        Args:
            plan, folder, screen: the race, where it is written, and where progress is shown.
            executor: carry the runs out.
            parallel: how many runs go on at once.
            budget: seconds from now on after which no run may end; None: any.
        """
        self.plan, self.folder, self.screen = plan, folder, screen
        self.executor, self.parallel = executor, parallel
        self.deadline = None if budget is None else time.monotonic() + budget
        self.running: list[_Running] = []
        self.seconds: dict[int, list[float]] = {}

    def run(self, what: str, trials: Sequence[Trial]) -> None:
        """Do those of `trials` that are not finished, in their order, as far as the budget allows.

        A run that fails is noted with its reason. On Ctrl-C or SIGTERM the running ones are ended.
        Raises InputError where nothing but failures is to be expected.
        """
        for trial in trials:
            if self.folder.finished(trial):
                self._took(trial, self.folder.seconds(trial))
        waiting = deque(trial for trial in trials if not self.folder.finished(trial))
        self.folder.forget_failures(waiting)
        done, stopped = len(trials) - len(waiting), False
        with _terminating(), self._bar(what, len(trials)) as bar:
            try:
                while self.running or (waiting and not stopped):
                    while waiting and not stopped and len(self.running) < self.parallel:
                        stopped = self._too_late(waiting[0])
                        if not stopped:
                            self._start(waiting.popleft())
                    ended = self._collect()
                    done += len(ended)
                    rest = [] if stopped else list(waiting)
                    for one in ended:
                        self._tell(one, f"{done}/{len(trials)}", rest)
                    self._check_hope(trials)
                    self._show(bar, done, rest)
                    if self.running:
                        time.sleep(POLL)
            finally:
                self._end()
        if stopped:
            self.screen.console.print(
                f"the budget is used up: {len(waiting)} of {len(trials)} runs were not started",
                style="yellow",
            )

    def _start(self, trial: Trial) -> None:
        self.running.append(_Running(trial=trial, job=self.executor.start(trial)))

    def _collect(self) -> list[_Running]:
        """Take in the runs that have ended."""
        for one in self.running:
            one.code = one.job.poll()
        ended = [one for one in self.running if one.code is not None]
        for one in ended:
            self.running.remove(one)
            if self.folder.finished(one.trial):
                self._took(one.trial, time.monotonic() - one.started)
            else:
                log = self.folder.log(one.trial).read_text("utf-8", errors="replace")
                self.folder.note_failure(one.trial, why(one.code or 0, log))
        return ended

    def _check_hope(self, trials: Sequence[Trial]) -> None:
        """Raise InputError where every objective has failed and no run has finished."""
        failures = self.folder.failures()
        failed = {trial.entrant: failures[trial.name] for trial in trials if trial.name in failures}
        if not self.seconds and len(failed) == len(self.plan.entrants):
            reason = next(iter(failed.values()))
            raise InputError(f"a run of each objective failed and none finished: {reason}")

    def _tell(self, one: _Running, count: str, waiting: Sequence[Trial]) -> None:
        """Print what became of a run."""
        found, trial = self.folder.result(one.trial), one.trial
        spent = duration(time.monotonic() - one.started)
        what = (
            f"failed: {found.failure}"
            if found.score is None
            else f"{found.metric} {percent(found.score, 1)}"
        )
        left = self.time_left(waiting)
        ahead = f", {duration(left)} left" if left else ""
        self.screen.console.print(
            f"{count} {trial.entrant}, {trial.condition}, rate {trial.learning_rate:g}, "
            f"seed {trial.seed}: {what} ({spent}{ahead})",
            style="dim" if found.failure is None else "yellow",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def _end(self) -> None:
        for one in self.running:
            one.job.stop()
        for one in self.running:
            one.job.wait()
        self.running.clear()

    # time

    def _took(self, trial: Trial, seconds: float) -> None:
        self.seconds.setdefault(trial.updates, []).append(seconds)

    def typical(self, trial: Trial) -> float | None:
        """Seconds a run like this takes: median of those done with as many updates, or else of all."""
        known = self.seconds.get(trial.updates) or [
            s for each in self.seconds.values() for s in each
        ]
        return median(known) if known else None

    def _too_late(self, trial: Trial) -> bool:
        if self.deadline is None:
            return False
        return time.monotonic() + (self.typical(trial) or 0.0) > self.deadline

    def time_left(self, waiting: Sequence[Trial]) -> float | None:
        """Seconds until all is done, from the typical ones; None before the first run is done."""
        parts = [self.typical(trial) for trial in waiting]
        for one in self.running:
            usual = self.typical(one.trial)
            spent = time.monotonic() - one.started
            parts.append(None if usual is None else max(usual - spent, 0.0))
        if any(part is None for part in parts):
            return None
        known = [part for part in parts if part is not None]
        return max(sum(known) / self.parallel, max(known, default=0.0))

    # the bar

    @contextmanager
    def _bar(self, what: str, total: int) -> Iterator[Progress]:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[runs]} runs"),
            TextColumn("[dim]left {task.fields[left]}[/dim]"),
            TextColumn("{task.fields[news]}", markup=False),
        )
        with Progress(*columns, console=self.screen.console) as bar:
            bar.add_task(what, total=total, runs=f"0/{total}", left="?", news="")
            yield bar

    def _show(self, bar: Progress, done: int, waiting: Sequence[Trial]) -> None:
        total = self.plan.recipe.training.rollouts
        parts = {
            one.trial: self.folder.steps(one.trial) / (total * one.trial.updates)
            for one in self.running
        }
        news = [f"{c.entrant} seed {c.seed}: {100 * part:.0f}%" for c, part in parts.items()]
        left = self.time_left(waiting)
        fields: dict[str, Any] = {
            "runs": f"{done}/{bar.tasks[0].total:.0f}",
            "left": "?" if left is None else duration(left),
            "news": "  ".join(news),
        }
        bar.update(bar.task_ids[0], completed=done + sum(parts.values()), **fields)


def why(code: int, log: str) -> str:
    """Say in one line why a process failed, from its exit code and what it printed."""
    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if line.startswith("maspo: ")), None)
    last = said or (lines[-1] if lines else "it said nothing")
    return f"exit code {code}: {last.removeprefix('maspo: ')[:300]}"


@contextmanager
def _terminating() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit while the block runs, so that it can end its children."""

    def leave(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    before = {n: signal.signal(n, leave) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
