"""What a problem is: a prompt to answer and the answer it is checked against."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem with a checkable answer."""

    id: str
    prompt: tuple[dict[str, str], ...]  # chat messages with role and content
    answer: str
