"""Judge a model on problems: sample, verify, estimate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from maspo.data import Problem
from maspo.evaluation.estimators import Estimate, estimates, paired_difference
from maspo.rewards import Outcome, Verifier


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Every sample of every problem with its verdict, problem by problem."""

    samples: int
    """Completions of each problem."""
    lines: list[dict[str, Any]]
    """One a completion, as written to a samples file: `problem_id`, `prompt`, `answer`, `index`,
    `text`, `outcome`, `extracted`, `tokens`, `finish`."""

    @property
    def correct(self) -> list[int]:
        """Number of correct completions of each problem."""
        hits = [line["outcome"] == Outcome.CORRECT for line in self.lines]
        return [sum(hits[i : i + self.samples]) for i in range(0, len(hits), self.samples)]

    def estimates(self) -> dict[str, Estimate]:
        """Give `avg@k` and `pass@k` for k samples, with 95% intervals over problems."""
        return estimates(self.correct, n=self.samples, ks=[self.samples])

    def summary(self) -> dict[str, Any]:
        """Give the figures of this evaluation as plain data."""
        found = self.estimates()
        counts = Counter(line["outcome"] for line in self.lines)
        total = len(self.lines)
        return {
            **{name: estimate.value for name, estimate in found.items()},
            "intervals": {name: [e.low, e.high] for name, e in found.items()},
            "problems": total // self.samples,
            "samples": self.samples,
            "mean_tokens": sum(line["tokens"] for line in self.lines) / total,
            "truncated": sum(line["finish"] == "length" for line in self.lines) / total,
            "outcomes": {str(outcome): counts[outcome] for outcome in Outcome},
        }

    def gain_over(self, before: Evaluation) -> dict[str, list[float]]:
        """Give value and interval of the paired difference to an evaluation of the same problems."""
        shares = [[c / e.samples for c in e.correct] for e in (before, self)]
        solved = [[float(c > 0) for c in e.correct] for e in (before, self)]
        named = {f"avg@{self.samples}": shares, f"pass@{self.samples}": solved}
        pairs = {name: paired_difference(*values) for name, values in named.items()}
        return {name: list(asdict(difference).values()) for name, difference in pairs.items()}


def evaluate(
    model: Any,
    tokenizer: Any,
    problems: Sequence[Problem],
    verifier: Verifier,
    *,
    samples: int,
    temperature: float,
    top_p: float,
    max_new_tokens: int,
    batch_size: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Sample each problem `samples` times and verify the answers; see `sample` for the settings."""
    from maspo.evaluation.sampling import sample

    drawn = sample(
        model,
        tokenizer,
        problems,
        samples=samples,
        temperature=temperature,
        top_p=top_p,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        seed=seed,
        progress=progress,
    )
    asked = [problem for problem in problems for _ in range(samples)]
    verdicts = verifier.verify([s.text for s in drawn], [p.answer for p in asked])
    lines = [
        {
            "problem_id": problem.id,
            "prompt": problem.prompt[-1]["content"],
            "answer": problem.answer,
            "index": one.index,
            "text": one.text,
            "outcome": str(verdict.outcome),
            "extracted": verdict.answer,
            "tokens": one.tokens,
            "finish": one.finish,
        }
        for problem, one, verdict in zip(asked, drawn, verdicts, strict=True)
    ]
    return Evaluation(samples=samples, lines=lines)
