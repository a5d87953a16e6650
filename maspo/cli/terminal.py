"""The terminal of all commands: one console, plain lines, and no chatter of the frameworks."""

from __future__ import annotations

import json
import os
import textwrap
import warnings
from typing import Any

from rich.console import Console

from maspo import files

console = Console()
PLAN_LABEL = 11
"""Characters before the text of a line of a plan."""


def print_json(value: Any) -> None:
    """Print plain data for a program, alone on stdout."""
    print(json.dumps(files.plain(value), ensure_ascii=False))


def for_programs(as_json: bool) -> None:
    """Leave stdout to `print_json` where JSON is asked for: everything else goes to stderr."""
    if as_json:
        console.stderr = True


def say(line: str, style: str | None = None) -> None:
    """Print a line as it is: no markup, no colours of its own; on a terminal broken at words."""
    if console.is_terminal and len(line) > console.width:
        line = "\n".join(_broken(one) for one in line.split("\n"))
    console.print(line, style=style, highlight=False, markup=False, soft_wrap=True)


def _broken(line: str) -> str:
    """Break a line at words; what follows a word of ten characters, as in a plan, stays below itself."""
    start = len(line) - len(line.lstrip())
    if (
        len(line) > PLAN_LABEL
        and line[PLAN_LABEL - 1] == " "
        and len(line[:PLAN_LABEL].split()) == 1
    ):
        start = PLAN_LABEL
    text = textwrap.TextWrapper(
        console.width, subsequent_indent=" " * start, break_long_words=False, break_on_hyphens=False
    )
    return text.fill(line)


def wrapped(text: str, indent: str) -> None:
    """Print text broken at words to the width of the terminal, every line indented."""
    say(textwrap.fill(text, console.width, initial_indent=indent, subsequent_indent=indent))


def verbose() -> None:
    """Let the frameworks speak, and show the traceback of an error."""
    os.environ["MASPO_DEBUG"] = "1"


def quiet() -> None:
    """Keep the chatter of the frameworks out of the terminal, unless `verbose`; our own warnings stay."""
    if os.environ.get("MASPO_DEBUG", "0") not in ("", "0"):
        return
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    from transformers.utils import logging

    logging.disable_progress_bar()
    warnings.showwarning = lambda message, *_: say(f"warning: {message}", "yellow")
