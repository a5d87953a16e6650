"""Plain values as lines of JSON; anything else crosses as a number that stands for it.

Values are read without running code, so that neither side has to trust the other. This file is pasted in
front of `program.py` and of `tests.py`, and imports nothing of the package.
"""

import json
import socket
from typing import Any

SMALL = 1 << 63  # larger integers as hexadecimal: Python limits the digits of decimal text


class Closed(Exception):
    """The other side has ended, or sent what cannot be read."""


class Channel:
    """Messages over a connected socket."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._file = self._socket.makefile("rwb")

    def send(self, message: Any) -> None:
        """Send a message of encoded values; Closed where nobody is there."""
        try:
            self._file.write(json.dumps(message).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise Closed(str(error)) from None

    def receive(self) -> Any:
        """Wait for a message; Closed where none comes any more."""
        try:
            line = self._file.readline()
            return json.loads(line)
        except (OSError, ValueError, RecursionError, MemoryError) as error:
            raise Closed(repr(error)) from None


def to_wire(value: Any, other: Any) -> Any:
    """Encode a value; `other(value)` returns the number that stands for one that is no plain value."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -SMALL < value < SMALL else ["int", hex(value)]
    if isinstance(value, str | float):
        return str(value) if isinstance(value, str) else float(value)
    if isinstance(value, complex):
        return ["complex", value.real, value.imag]
    if isinstance(value, bytes | bytearray):
        return [type(value).__name__ if type(value) is bytearray else "bytes", value.hex()]
    if isinstance(value, dict):
        pairs = [[to_wire(k, other), to_wire(v, other)] for k, v in value.items()]
        return ["dict", pairs]
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            return [kind.__name__, [to_wire(item, other) for item in value]]
    return ["other", other(value)]


def from_wire(value: Any, other: Any) -> Any:
    """Decode what `to_wire` made; `other(number)` returns what a number stands for."""
    if not isinstance(value, list):
        return value
    kind, *rest = value
    if kind == "int":
        return int(rest[0], 16)
    if kind == "complex":
        return complex(*rest)
    if kind in ("bytes", "bytearray"):
        found = bytes.fromhex(rest[0])
        return bytearray(found) if kind == "bytearray" else found
    if kind == "dict":
        return {from_wire(k, other): from_wire(v, other) for k, v in rest[0]}
    if kind in ("list", "tuple", "set", "frozenset"):
        make = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind]
        return make(from_wire(item, other) for item in rest[0])
    if kind == "other":
        return other(rest[0])
    raise Closed(f"no value: {kind!r:.40}")
