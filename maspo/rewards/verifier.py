"""Verdicts on completions: math-verify in worker processes that can be killed."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from maspo.errors import InputError, RunError
from maspo.rewards.extract import boxed_text, compare_numbers, isolate_answer
from maspo.rewards.layer.locate import find_answer
from maspo.rewards.layer.rules import chosen
from maspo.rewards.rules import has_rules
from maspo.rewards.verdict import Gold, Job, Outcome, Verdict


class Verifier:
    r"""Checks completions against reference answers as math-verify does, within a hard time limit.

    Plain numbers are compared here; everything else goes to a pool of `workers` processes, whose
    start is paid once and runs in the background. A worker that exceeds `time_limit` seconds on one
    answer is killed and replaced; the killed checks of one call of `verify` cost no more than about
    `batch_limit` seconds together, and those left over count as timeouts. `memory_limit_mb` bounds
    each worker's address space, on Linux. Usable from any thread; needs POSIX. Use it as a context
    manager or call `close()`.

    math-verify is not symmetric: the reference answer is its `gold`, read as `\boxed{answer}`.
    """

    def __init__(
        self,
        *,
        workers: int = 2,
        time_limit: float = 5.0,
        batch_limit: float = 60.0,
        memory_limit_mb: int | None = 2048,
        rules: str | Collection[str] = "extended",
    ):
        """Start the pool without waiting for it; InputError if a setting is not positive."""
        missing = [m for m in ("math_verify", "pebble") if importlib.util.find_spec(m) is None]
        if missing:
            raise InputError(
                "the verifier needs two packages: pip install 'math-verify[antlr4_13_2]' pebble"
            )
        if workers < 1 or time_limit <= 0 or batch_limit <= 0:
            raise InputError(
                "workers, time_limit and batch_limit must be positive, "
                f"not {workers}, {time_limit} and {batch_limit}"
            )
        self._rules = chosen(rules)
        self._settings = {
            "workers": workers,
            "time_limit": time_limit,
            "batch_limit": batch_limit,
            "memory_limit_mb": memory_limit_mb,
            "rules": sorted(self._rules),
        }
        self._lock = threading.Lock()
        self._closed = False
        self._server: _Server | None = _Server(self._settings)

    def verify(self, completions: Sequence[str], answers: Sequence[str | Gold]) -> list[Verdict]:
        """Judge each completion against the reference answer at the same place, in order.

        A reference that is a string, or a Gold without rules, gets the verdict of math-verify; the
        rules of a Gold are applied as `maspo.rewards.rules` says. Equal pairs of extracted answer
        and reference are judged once. Raises InputError where the lengths differ, a reference
        answer is no string, or a tolerance is not a positive number.
        """
        _check_inputs(completions, answers)
        jobs = [self._job(text, gold) for text, gold in zip(completions, answers, strict=True)]
        verdicts = self._judge(jobs)
        for place, job in enumerate(jobs):
            # A box that does not parse: math-verify then looks at the rest of the completion.
            if job.isolated and verdicts[job].outcome is Outcome.UNPARSABLE and not self._rules:
                jobs[place] = Job(completions[place], job.gold, isolated=False)
        verdicts |= self._judge(job for job in jobs if job not in verdicts)
        return [verdicts[job] for job in jobs]

    def check_golds(self, golds: Sequence[str | Gold]) -> list[Finding]:
        """Return those reference answers that are not read whole, by place, with what is wrong.

        To be asked before a sample is drawn: an answer cannot be judged by half a reference.
        """
        asked = [gold if isinstance(gold, Gold) else Gold(gold) for gold in golds]
        _check_inputs([""] * len(asked), asked)
        jobs = {Job("", gold, isolated=True, only_gold=True): None for gold in asked}
        found = dict(zip(jobs, self._ask(list(jobs)), strict=True))
        verdicts = [found[Job("", gold, isolated=True, only_gold=True)] for gold in asked]
        return [
            Finding(place, gold.answer, verdict.detail)
            for place, (gold, verdict) in enumerate(zip(asked, verdicts, strict=True))
            if verdict.outcome is not Outcome.CORRECT
        ]

    def close(self) -> None:
        """Stop the processes; calling it again does nothing."""
        with self._lock:
            self._closed = True
            if self._server is not None:
                self._server.stop()
                self._server = None

    def __enter__(self) -> Verifier:
        """Return itself: leaving the block closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _job(self, completion: str, answer: str | Gold) -> Job:
        gold = answer if isinstance(answer, Gold) else Gold(answer)
        found = find_answer(completion, self._rules) if self._rules else isolate_answer(completion)
        return Job(completion if found is None else found, gold, found is not None)

    def _judge(self, jobs: Iterable[Job]) -> dict[Job, Verdict]:
        known = {job: _verdict_on_numbers(job, boxed=not self._rules) for job in jobs}
        open_jobs = [job for job, verdict in known.items() if verdict is None]
        judged = dict(zip(open_jobs, self._ask(open_jobs), strict=True))
        return {job: verdict or judged[job] for job, verdict in known.items()}

    def _ask(self, jobs: list[Job]) -> list[Verdict]:
        if not jobs:
            return []
        with self._lock:
            if self._closed:
                raise RuntimeError("this verifier is closed")
            try:
                return self._exchange(jobs)
            except (
                EOFError,
                OSError,
            ):  # the server died, for instance for want of memory
                try:
                    return self._exchange(jobs)
                except (EOFError, OSError) as error:
                    raise RunError(
                        "the verifier's process died twice, for instance for want of memory; see its "
                        "messages above"
                    ) from error

    def _exchange(self, jobs: list[Job]) -> list[Verdict]:
        self._server = self._server or _Server(self._settings)
        try:
            return self._server.exchange(jobs)
        except BaseException:  # also an interrupt: the pipe may hold half an exchange
            self._server.stop()
            self._server = None
            raise


class Finding(NamedTuple):
    """A reference answer that is not read whole."""

    place: int
    answer: str
    wrong: str
    """What is wrong with it, as a clause."""


def check_golds(golds: Sequence[str | Gold]) -> list[Finding]:
    """Start a verifier and return those reference answers that are not read whole."""
    with Verifier() as verifier:
        return verifier.check_golds(golds)


class _Server:
    """A running `maspo.rewards.server` and the pipe to it."""

    def __init__(self, settings: dict[str, Any]):
        self._channel, theirs = Pipe()
        with theirs:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "maspo.rewards.server"),
                    *(str(theirs.fileno()), json.dumps(settings)),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": _import_path(), "PYTHONSAFEPATH": "1"},
                start_new_session=True,  # an interrupt at the terminal is ours to handle
            )
        self.stop = weakref.finalize(self, _stop, process, self._channel)

    def exchange(self, jobs: list[Job]) -> list[Verdict]:
        self._channel.send(jobs)
        return self._channel.recv()


def _stop(process: subprocess.Popen, channel: Connection) -> None:
    process.terminate()  # it ends its workers, and leaves nothing behind
    channel.close()
    try:
        process.wait(timeout=3)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with its workers: they share its session
        process.wait()


def _import_path() -> str:
    return os.pathsep.join(entry or os.getcwd() for entry in sys.path)


def _check_inputs(completions: Sequence[str], answers: Sequence[str | Gold]) -> None:
    if len(completions) != len(answers):
        raise InputError(f"{len(completions)} completions but {len(answers)} reference answers")
    for row, completion in enumerate(completions):
        if not isinstance(completion, str):
            kind = type(completion).__name__
            raise InputError(f"completion {row} is of type {kind}; give its text as a string")
    for row, answer in enumerate(answers):
        text = answer.answer if isinstance(answer, Gold) else answer
        if not isinstance(text, str):
            kind = type(text).__name__
            raise InputError(f"reference answer {row} is of type {kind}; give it as a string")
        for name in ("relative", "absolute"):
            value = getattr(answer, name, None)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"reference answer {row}: {name} must be positive, not {value}")


def _verdict_on_numbers(job: Job, *, boxed: bool) -> Verdict | None:
    if not job.isolated:
        return None
    answer = boxed_text(job.text) if boxed else job.text
    equal = compare_numbers(answer, job.gold.answer)
    if equal is None or (not equal and has_rules(job.gold)):
        return None
    return Verdict(outcome=Outcome.CORRECT if equal else Outcome.WRONG, answer=answer)
