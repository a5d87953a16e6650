"""What a problem is: a prompt to answer and what its answer is judged by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from maspo.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem; `maspo.rewards.AskedProblem` is what a reward sees of it."""

    id: str
    prompt: tuple[dict[str, str], ...]  # chat messages with role and content
    answer: Any = None
    """What an answer is judged by, as JSON: a text, or an object. Only the kind of reward that judges
    by it reads it (see `maspo.rewards.KINDS`); None where the data set has none."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """The columns of its row, as JSON, for reward functions; empty unless they were asked for."""


def check_last_turn(problem: Problem) -> None:
    """Raise InputError where the last message is the model's own, which no engine would go on with."""
    if problem.prompt[-1]["role"] == "assistant":
        raise InputError(
            f"the prompt of problem {problem.id!r} ends with a turn of the assistant; end it with what "
            "the user says"
        )
