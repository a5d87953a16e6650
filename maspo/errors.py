"""The one exception a user can cause, and the one that a run can end with."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave cannot be used; the message says in one sentence what, and how to mend it."""


class RunError(RuntimeError):
    """A run cannot go on; the message says in one sentence why, and what is left of it."""


def unknown(kind: str, given: str, known: Iterable[str]) -> InputError:
    """Build the error for a name that is not among the `known` ones, with the nearest of them."""
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=1)
    listed = ", ".join(names) if len(names) <= 30 else f"{len(names)} others"
    hint = f"did you mean {near[0]!r}?" if near else f"known: {listed}"
    return InputError(f"unknown {kind} {given!r}; {hint}")
