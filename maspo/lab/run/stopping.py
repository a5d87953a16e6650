"""SIGTERM and Ctrl-C: training ends with its step and a checkpoint, everything else at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

WATCHED = (signal.SIGINT, signal.SIGTERM)


class Stopped(SystemExit):
    """The run was asked to stop; the exit code is that of the signal."""

    def __init__(self, number: int, where: str) -> None:
        """Take the signal, and say where the run stands."""
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        super().__init__(128 + number)
        self.sentence = f"stopped by {name} {where}"


class Stopping:
    """What the signals asked for."""

    def __init__(self) -> None:
        self.asked: int | None = None
        self._patient = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Handle the signals while the block runs; only the main thread can, others leave them be."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._heard) for number in WATCHED}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def patient(self) -> Iterator[None]:
        """While the block runs, the first signal is remembered; the block asks for it by `wanted`."""
        before, self._patient = self._patient, True
        try:
            yield
        finally:
            self._patient = before

    @contextmanager
    def impatient(self) -> Iterator[None]:
        """While the block runs, a signal ends it at once: what it does is kept as it goes."""
        before, self._patient = self._patient, False
        try:
            yield
        finally:
            self._patient = before

    def wanted(self) -> bool:
        """Whether training should end."""
        return self.asked is not None

    def _heard(self, number: int, frame: FrameType | None) -> Any:
        if self.asked is not None:  # the second one
            os._exit(128 + number)
        self.asked = number
        if not self._patient:
            raise Stopped(number, "before or after training")
        print("maspo: stopping after this step; once more to stop at once", file=sys.stderr)
