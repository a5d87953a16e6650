"""The commands, read from themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from generate.markdown import table


def page() -> str:
    """List every command with its arguments and options."""
    import typer

    from maspo.cli.app import app

    root = typer.main.get_command(app)
    text = (
        "# Commands\n\nRead from the commands themselves; `maspo COMMAND --help` prints the same.\n"
    )
    return text + "".join(_command(root, "maspo"))


def _command(command: Any, name: str) -> Iterator[str]:
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    yield f"\n## {name}\n\n{inspect.cleandoc(command.help or '')}\n\n```text\n{usage}\n```\n\n"
    told = [one.get_help_record(context) for one in command.params]
    rows = [(f"`{record[0]}`", record[1]) for record in told if record is not None]
    if rows:
        yield table(("argument or option", "meaning"), rows)
    for word, inner in getattr(command, "commands", {}).items():
        yield from _command(inner, f"{name} {word}")
