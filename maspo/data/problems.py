"""What a problem is: a prompt to answer and what its answer is judged by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
