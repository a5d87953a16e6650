"""Run a completion's program in a confined process, on an input or under tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

from maspo.errors import RunError

GRACE = 10.0
"""Seconds over its time after which a process that should have killed its child is killed itself."""
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8"}
ENVIRONMENT |= {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a program may use."""

    seconds: float
    memory_mb: int = 512
    """Address space."""
    files_mb: int = 16
    """Its largest file, what it may print, and all its files together where it is isolated."""
    open_files: int = 64
    isolate: bool = True
    """Without network, and in a file system of its own; needs Linux and its namespaces."""

    def within(self, seconds: float) -> Bounds:
        """Set another time."""
        return replace(self, seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a program ended."""

    status: int | str
    """Exit code, minus the number of the signal that killed it, or "timeout"."""
    output: str
    """What it printed."""
    error: str
    """The last line of its errors."""


def run_on_input(program: str, text: str, bounds: Bounds) -> Ended:
    """Run a program as a script that reads `text`; RunError where it cannot be started."""
    with ExitStack() as stack:
        given = stack.enter_context(_scratch())
        given.write(text.encode("utf-8", "backslashreplace"))
        given.seek(0)
        job = {"program": program, "calls": None}
        process = stack.enter_context(_confined("program.py", job, bounds, stdin=given))
        return process.ended()


def run_under_tests(program: str, tests: str, bounds: Bounds) -> tuple[str, Ended]:
    """Run tests against a program, each in a process of its own; RunError where one cannot be started.

    Returns `passed`, `failed: ...`, `broken: ...` or "" where the tests did not end, and how the program
    ended.
    """
    with ExitStack() as stack:
        ours, theirs = socket.socketpair()
        reader, writer = os.pipe()
        stack.callback(os.close, reader)
        with ours, theirs, os.fdopen(writer, "w") as verdict:
            job: dict[str, Any] = {"program": program, "calls": theirs.fileno()}
            running = stack.enter_context(_confined("program.py", job, bounds, theirs.fileno()))
            job = {"tests": tests, "calls": ours.fileno(), "verdict": verdict.fileno()}
            testing = stack.enter_context(
                _confined("tests.py", job, bounds, ours.fileno(), verdict.fileno())
            )
        testing.ended()
        ended = running.ended()  # its socket is closed, so it ends now, or when its time is over
        return os.read(reader, 10_000).decode("utf-8", "replace"), ended


@lru_cache
def failure(*, isolate: bool = True) -> str:
    """Say why programs cannot be run here, isolated or not; "" where they can."""
    try:
        run_on_input("", "", Bounds(seconds=30.0, isolate=isolate))
    except RunError as error:
        return str(error)
    return ""


class _Process:
    """`confine.py` at work, and where it writes."""

    def __init__(
        self,
        process: subprocess.Popen,
        seconds: float,
        report: int,
        output: IO[bytes],
        errors: IO[bytes],
    ) -> None:
        self._process, self._seconds, self._report = process, seconds, report
        self._output, self._errors = output, errors

    def ended(self) -> Ended:
        """Wait for the end; RunError where the program was not started."""
        try:
            self._process.wait(self._seconds + GRACE)
        except subprocess.TimeoutExpired:
            self.kill()
        text = os.read(self._report, 100_000)
        report = json.loads(text) if text else {"failed": "its keeper was killed"}
        if report["failed"]:
            raise RunError(f"a program could not be confined: {report['failed']}")
        lines = _read(self._errors).strip().splitlines()
        return Ended(
            status=report["status"],
            output=_read(self._output),
            error=lines[-1][:500] if lines else "",
        )

    def kill(self) -> None:
        """Kill what still runs."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@contextmanager
def _confined(
    script: str, job: Mapping[str, Any], bounds: Bounds, *descriptors: int, stdin: Any = None
) -> Iterator[_Process]:
    """Start a script on a job, confined; what still runs at the end is killed."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="maspo-")))
        folder.chmod(0o711)
        for name in ("root", "work"):
            (folder / name).mkdir()
            (folder / name).chmod(0o777)
        job_file = _json_file(stack, job)
        python = os.path.realpath(sys.executable)
        reader, writer = os.pipe()
        stack.callback(os.close, reader)
        output, errors = (stack.enter_context(_scratch()) for _ in range(2))
        with os.fdopen(writer, "w") as report:
            order = {
                "argv": [python, "-I", "-S", "-c", source(script), str(job_file.fileno())],
                "env": dict(ENVIRONMENT),
                "root": str(folder / "root"),
                "work": str(folder / "work"),
                "python": visible(python),
                "seconds": bounds.seconds,
                "memory": bounds.memory_mb << 20,
                "size": bounds.files_mb << 20,
                "files": bounds.open_files,
                "isolate": bounds.isolate,
                "report": report.fileno(),
            }
            order_file = _json_file(stack, order)
            passed = (order_file.fileno(), job_file.fileno(), report.fileno(), *descriptors)
            process = subprocess.Popen(
                [python, "-I", "-S", "-c", source("confine.py"), str(order_file.fileno())],
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=output,
                stderr=errors,
                pass_fds=passed,
                start_new_session=True,  # an interrupt at the terminal is ours to handle
            )
        running = _Process(process, bounds.seconds, reader, output, errors)
        stack.callback(running.kill)
        yield running


def visible(python: str) -> list[str]:
    """List the folders that an isolated program sees: those of Python and of the system's libraries."""
    folders = ["/usr", "/lib", "/lib64"]
    home = str(Path(python).parents[1])
    return folders if home.startswith("/usr") else [*folders, home]


@lru_cache
def source(script: str) -> str:
    """Read a script of this folder, with what is pasted in front of it."""
    folder = files("maspo.rewards.sandbox")
    parts = ["wire.py"] if script in ("program.py", "tests.py") else []
    return "\n".join((folder / part).read_text("utf-8") for part in [*parts, script])


def _json_file(stack: ExitStack, value: Any) -> IO[bytes]:
    file = stack.enter_context(_scratch())
    file.write(json.dumps(value).encode())
    file.flush()
    file.seek(0)
    return file


def _scratch() -> IO[bytes]:
    return tempfile.TemporaryFile()


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")
