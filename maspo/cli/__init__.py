"""The command line."""

from __future__ import annotations

import os
import sys

# Threads of a small model wait for each other all the time. Waiting asleep costs nothing on a free
# machine, and on a busy one an idle spin makes training three times slower (60 s against 17 s).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def main() -> None:
    """Run the command line: one sentence, and exit code 2 for bad input, 1 for a run that failed."""
    try:
        from maspo.cli.app import app
    except ModuleNotFoundError as error:
        print(f"maspo: {error.name} is missing; run: pip install 'maspo[trl]'", file=sys.stderr)
        raise SystemExit(2) from None
    from maspo.errors import InputError, RunError

    try:
        app(prog_name="maspo")
    except RunError as error:
        _say(error)
        raise SystemExit(1) from None
    except InputError as error:
        _say(error)
        raise SystemExit(2) from None


def _say(error: Exception) -> None:
    """Print one line in which nothing of what it quotes can act on the terminal."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(error))
    print(f"maspo: {text}", file=sys.stderr)
