"""The terminal of all commands: one console, plain lines, and no chatter of the frameworks."""

from __future__ import annotations

import os
import textwrap
import warnings

from rich.console import Console

console = Console()


def say(line: str, style: str | None = None) -> None:
    """Print a line as it is: no markup, no colours of its own, broken by the terminal alone."""
    console.print(line, style=style, highlight=False, markup=False, soft_wrap=True)


def wrapped(text: str, indent: str) -> None:
    """Print text broken at words to the width of the terminal, every line indented."""
    say(textwrap.fill(text, console.width, initial_indent=indent, subsequent_indent=indent))


def quiet() -> None:
    """Keep the chatter of the frameworks out of the terminal; our own warnings stay."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    from transformers.utils import logging

    logging.disable_progress_bar()
    warnings.showwarning = lambda message, *_: say(f"warning: {message}", "yellow")
