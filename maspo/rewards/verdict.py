"""What the verifier answers, and the one comparison it asks of a worker."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    """How the check of one completion ended; only CORRECT earns a reward."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSABLE = "unparsable"
    """Nothing in the completion reads as an answer."""
    TIMEOUT = "timeout"
    """No verdict within the time limit; the worker was killed."""
    ERROR = "error"
    """The check itself failed: see `Verdict.detail`."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of one check."""

    outcome: Outcome
    answer: str | None
    """The answer found in the completion, as text; None where there is none."""
    detail: str = ""
    """For TIMEOUT and ERROR: what happened."""


class Job(NamedTuple):
    """One comparison; `isolated` says that `text` is nothing but the answer (see extract.py)."""

    text: str
    gold: str
    isolated: bool
