"""What a problem is: a prompt to answer and the answer it is checked against."""

from dataclasses import dataclass

from maspo.rewards.verdict import Gold


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem with a checkable answer."""

    id: str
    prompt: tuple[dict[str, str], ...]  # chat messages with role and content
    answer: str
    relative: float | None = None  # this and the next two: the rules of `Gold`
    absolute: float | None = None
    unit: str | None = None

    @property
    def gold(self) -> str | Gold:
        """What the verifier compares with: the answer, with its rules where it has any."""
        rules = (self.relative, self.absolute, self.unit)
        return self.answer if rules == (None, None, None) else Gold(self.answer, *rules)
