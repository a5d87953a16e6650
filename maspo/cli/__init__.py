"""The command line."""

from __future__ import annotations

import os
import sys

# Threads of a small model wait for each other all the time. Waiting asleep costs nothing on a free
# machine, and on a busy one an idle spin makes training three times slower (60 s against 17 s).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def main() -> None:
    """Run the command line; what a user got wrong ends in one sentence and exit code 2."""
    try:
        from maspo.cli.app import app
    except ModuleNotFoundError as error:
        print(f"maspo: {error.name} is missing; run: pip install 'maspo[trl]'", file=sys.stderr)
        raise SystemExit(2) from None
    from maspo.errors import InputError

    try:
        app(prog_name="maspo")
    except InputError as error:
        print(f"maspo: {error}", file=sys.stderr)
        raise SystemExit(2) from None
