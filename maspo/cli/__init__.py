"""The command line."""

from __future__ import annotations

import os
import sys
import traceback

# Threads of a small model wait for each other all the time. Waiting asleep costs nothing on a free
# machine, and on a busy one an idle spin makes training three times slower (60 s against 17 s).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

EXTRAS = {
    **dict.fromkeys(
        (
            "accelerate", "datasets", "filelock", "gguf", "jinja2", "math_verify", "matplotlib", "numpy",
            "peft", "pebble", "pyarrow", "pydantic", "rich", "scipy", "tokenizers", "transformers", "trl",
            "typer", "yaml",
        ),
        "trl",
    ),
    "vllm": "vllm",
    "verl": "verl",
}  # fmt: skip
"""The extra of the package with which each library is installed."""

INPUT, FAILED, INTERRUPTED = 2, 1, 130
"""Exit codes: something given cannot be used, a run failed, Ctrl-C."""


def main() -> None:
    """Run the command line; whatever ends it, Ctrl-C included, is one sentence and an exit code.

    With MASPO_DEBUG=1 in the environment the traceback is printed before the sentence.
    """
    try:
        from maspo.cli.app import app

        app(prog_name="maspo")
    except SystemExit as ended:
        if type(ended) is SystemExit and ended.code == INTERRUPTED:  # typer's, which is silent
            _end(ended, "stopped by Ctrl-C", INTERRUPTED)
        raise
    except KeyboardInterrupt as error:  # while modules are imported
        _end(error, "stopped by Ctrl-C", INTERRUPTED)
    except Exception as error:
        found = _sentence(error)
        if found is None:
            raise
        _end(error, *found)


def _sentence(error: Exception) -> tuple[str, int] | None:
    """Return what to say of an error and the exit code; None for one that is a fault of ours."""
    from maspo.errors import InputError, RunError

    if isinstance(error, InputError):
        return str(error), INPUT
    if isinstance(error, RunError):
        return str(error), FAILED
    if isinstance(error, ModuleNotFoundError):
        library = (error.name or "").partition(".")[0]
        if library in EXTRAS:
            return f"{library} is missing; run: pip install {_extra_of(library)}", INPUT
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        what = " ".join(str(error).split()).partition(". ")[0] or "out of memory"
        return (
            f"{what}; lower training.micro_batch, evaluation.batch_size, or --batch-size of eval; what "
            "was begun goes on, a run by `maspo resume FOLDER`",
            FAILED,
        )
    return None


def _extra_of(library: str) -> str:
    """Return what pip is given: the extra, or the library alone where the extra would spoil verl's place."""
    from maspo.engines.supported import is_installed

    extra = EXTRAS[library]
    return library if extra == "trl" and is_installed("verl") else f"'maspo[{extra}]'"


def _end(error: BaseException, text: str, code: int) -> None:
    """Print one line in which nothing of what it quotes can act on the terminal, and exit."""
    if os.environ.get("MASPO_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(error)
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    print(f"maspo: {text}", file=sys.stderr)
    raise SystemExit(code) from None
