# `wire.py` is pasted in front of this file.
# ruff: noqa: F821
# pyright: reportUndefinedVariable=false
"""Run the tests of a problem against a program in another process.

The argument is the descriptor of the job: `tests`, `calls`, the descriptor of the socket, and `verdict`,
that of the pipe for the result: `passed`, `failed: ...` or `broken: ...`.

A name of the program stands here for a call into it. Plain values come over as copies; other objects can
be called, indexed, iterated and asked for attributes, and are equal to nothing but themselves. So no
object of the program's can claim to be the answer.
"""

import builtins
import importlib
import os
import sys


class RemoteProgram:
    """The other side."""

    def __init__(self, channel) -> None:
        self.channel = channel
        self.asked = 0

    def names(self) -> dict:
        """Wait until the program has run, and return what its names stand for; builtins stay ours."""
        found = {}
        for name, (kind, value) in self.channel.receive().items():
            if hasattr(builtins, name):
                continue
            if name in sys.stdlib_module_names:
                found[name] = importlib.import_module(name)
            elif kind == "value":
                found[name] = from_wire(value, self.remote)
            elif value.partition(".")[0] in sys.stdlib_module_names:
                found[name] = importlib.import_module(value)
        return found

    def remote(self, number):
        """Return what stands for an object of the program's."""
        return Remote(self, number)

    def ask(self, what, number, *args, **kwargs):
        """Have the program do something, and return what comes of it or raise as it did."""
        self.asked += 1
        numbers = [to_wire(one, self.number) for one in args]
        named = {name: to_wire(one, self.number) for name, one in kwargs.items()}
        self.channel.send([what, number, numbers, named])
        kind, value, rest = self.channel.receive()
        if kind == "raised":
            known = [getattr(builtins, name, None) for name in value]
            raise error_of([one for one in known if isinstance(one, type)], rest)
        for before, after in zip(args, rest, strict=False):
            replace(before, from_wire(after, self.remote))
        return from_wire(value, self.remote)

    def number(self, value):
        """Return the number of an object that came from the program; others cannot go there."""
        if isinstance(value, Remote):
            return object.__getattribute__(value, "_number")
        raise Broken(f"a {type(value).__name__} cannot be handed to the program")


class Remote:
    """An object of the program's."""

    __slots__ = ("_number", "_program")

    def __init__(self, program, number) -> None:
        self._program, self._number = program, number

    def __call__(self, *args, **kwargs):
        """Call it."""
        return self._program.ask("call", self._number, *args, **kwargs)

    def __getattr__(self, name):
        return self._program.ask("attribute", self._number, name)

    def __getitem__(self, key):
        return self._program.ask("item", self._number, key)

    def __len__(self):
        return self._program.ask("length", self._number)

    def __iter__(self):
        return self._program.ask("iterate", self._number)

    def __next__(self):
        return self._program.ask("next", self._number)

    def __bool__(self):
        return True


class Broken(BaseException):
    """The tests themselves cannot be run."""


def error_of(kinds, text) -> Exception:
    """Make the error that the program raised, of the nearest builtin type that takes a text."""
    for kind in kinds:
        if issubclass(kind, Exception):
            try:
                return kind(text)
            except TypeError:  # UnicodeDecodeError takes more
                continue
    return RuntimeError(text)


def replace(before, after) -> None:
    """Let a list, dict or set that was handed over be what the call has made of it."""
    if type(before) is not type(after):
        return
    if isinstance(before, list):
        before[:] = after
    elif isinstance(before, dict | set):
        before.clear()
        before.update(after)


def run_tests(job) -> str:
    """Run the tests, and functions among them called `test...`, and say how they ended."""
    program = RemoteProgram(Channel(job["calls"]))
    try:
        code = compile(job["tests"], "<tests>", "exec")
    except (SyntaxError, ValueError) as error:
        return f"broken: {error!r}"
    try:
        names = {"__name__": "tests", **program.names()}
        given = set(names)
        exec(code, names)
        for name, value in list(names.items()):
            if name.startswith("test") and name not in given and callable(value):
                value()
    except Closed:
        return "failed: the program ended before its tests"
    except Broken as error:
        return f"broken: {error}"
    except BaseException as error:
        return f"failed: {error!r:.500}"
    return "passed" if program.asked else "broken: the tests never use the program"


def main() -> None:
    """Write the verdict."""
    with os.fdopen(int(sys.argv[1])) as file:
        job = json.load(file)
    found = run_tests(job)
    os.write(job["verdict"], found.encode("utf-8", "backslashreplace"))


if __name__ == "__main__":
    main()
