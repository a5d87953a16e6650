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
    score: float | None = None
    """The weighted sum of all rewards of a run, where there is a run."""

    @property
    def correct(self) -> bool:
        """Whether the completion is correct."""
        return self.outcome is Outcome.CORRECT


class Gold(NamedTuple):
    """A reference answer with the rules of its benchmark; a plain string is one without rules."""

    answer: str
    relative: float | None = None
    """Numbers that differ by no more than this share of the reference are equal."""
    absolute: float | None = None
    """Numbers that differ by no more than this are equal."""
    unit: str | None = None
    """What may stand behind the number, or be left out."""


class Job(NamedTuple):
    """One comparison; `isolated` says that `text` is nothing but the answer (see extract.py)."""

    text: str
    gold: Gold
    isolated: bool
    only_gold: bool = False
    """Whether nothing is compared, and the verdict says whether the gold is read whole."""
