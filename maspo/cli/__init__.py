"""The command line."""

from __future__ import annotations

import sys


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
