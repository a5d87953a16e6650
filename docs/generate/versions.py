"""Versions that are taken, and what is refused of a framework."""

from __future__ import annotations

import tomllib
from pathlib import Path

from generate.markdown import table

ROOT = Path(__file__).resolve().parents[2]


def page() -> str:
    """List the windows of versions of engines and packages."""
    from maspo.engines.trl.names import SUPPORTED as TRL
    from maspo.engines.verl.names import SUPPORTED as VERL

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    rows = [(one.title, f"`{one.window}`", one.said()) for one in (TRL, VERL)]
    text = (
        "# Versions\n\n## Engines\n\n"
        + table(("engine", "taken", "tested"), rows)
        + f"\n## Python and packages\n\nPython `{project['requires-python']}`, "
        + f"`{'`, `'.join(project['dependencies'])}`.\n\n"
    )
    extras = [
        (f"`{extra}`", ", ".join(f"`{need}`" for need in needs))
        for extra, needs in project["optional-dependencies"].items()
    ]
    return text + table(("extra", "asks for"), extras)


def refused() -> str:
    """List the settings of TRL's own losses, which are refused."""
    from maspo.engines.trl.names import FIELDS

    return ", ".join(f"`{name}`" for name in FIELDS)
