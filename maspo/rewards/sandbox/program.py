# `wire.py` is pasted in front of this file.
# ruff: noqa: F821
# pyright: reportUndefinedVariable=false
"""Hold a completion's program and answer the calls of its tests, whose source never comes here.

The argument is the descriptor of the job: `program`, and `calls`, the descriptor of the socket.
"""

import os
import sys
import types

UNREADABLE = 97  # exit code: the program is no Python


class Program:
    """The names of a program, and the objects that its tests hold."""

    def __init__(self, channel) -> None:
        self.channel = channel
        self.objects: dict = {}
        self.names: dict = {"__name__": "solution"}

    def number(self, value) -> int:
        """Keep an object and return its number."""
        self.objects[id(value)] = value
        return id(value)

    def offer(self) -> None:
        """Send the names that tests can use; a module by the name under which it can be imported."""
        found = {}
        for name, value in self.names.items():
            if name.startswith("__"):
                continue
            if isinstance(value, types.ModuleType):
                found[name] = ["module", value.__name__]
                continue
            try:
                found[name] = ["value", to_wire(value, self.number)]
            except Exception:  # a container of itself, for instance
                continue
        self.channel.send(found)

    def answer(self) -> None:
        """Answer one question: `[what, object, arguments, keywords]`."""
        what, place, args, kwargs = self.channel.receive()
        try:
            args = [from_wire(one, self.objects.get) for one in args]
            kwargs = {name: from_wire(one, self.objects.get) for name, one in kwargs.items()}
            found = QUESTIONS[what](self.objects[place], *args, **kwargs)
            after = [to_wire(one, self.number) for one in args] if what == "call" else []
            reply = ["value", to_wire(found, self.number), after]
        except Exception as error:
            kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
            reply = ["raised", kinds, str(error)[:1000]]
        self.channel.send(reply)


QUESTIONS = {
    "call": lambda target, *args, **kwargs: target(*args, **kwargs),
    "attribute": getattr,
    "item": lambda target, key: target[key],
    "length": len,
    "iterate": iter,
    "next": next,
}


def main() -> None:
    """Run the program, then serve its tests until they end."""
    with os.fdopen(int(sys.argv[1])) as file:
        job = json.load(file)
    try:
        code = compile(job["program"], "<completion>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        os._exit(UNREADABLE)
    if job["calls"] is None:
        sys.argv = ["solution.py"]
        exec(code, {"__name__": "__main__"})
        return
    program = Program(Channel(job["calls"]))
    exec(code, program.names)
    program.offer()
    while True:
        try:
            program.answer()
        except Closed:
            return


if __name__ == "__main__":
    main()
