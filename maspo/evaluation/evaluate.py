"""Judge a model on problems: sample, verify, estimate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from maspo.data import Problem
from maspo.evaluation.journal import journal
from maspo.evaluation.scores import Judged, benchmark_scores, compare
from maspo.rewards import RewardSet
from maspo.sampling import Settings, draw


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Every sample of every problem with its verdict, problem by problem."""

    samples: int
    """Completions of each problem."""
    lines: list[dict[str, Any]]
    """One a completion, as written to a samples file: `problem_id`, `prompt`, `answer`, `index`,
    `text`, `outcome`, `extracted`, `tokens`, `finish`."""

    @cached_property
    def scores(self) -> dict[str, Any]:
        """Everything `benchmark_scores` makes of these samples."""
        starts = range(0, len(self.lines), self.samples)
        return benchmark_scores([_judged(self.lines[i : i + self.samples]) for i in starts])

    def summary(self) -> dict[str, Any]:
        """Give the figures of this evaluation as plain data; a single problem has no intervals."""
        found = self.scores["metrics"]
        kept = ("problems", "samples", "mean_tokens", "truncated", "outcomes")
        return {
            **{name: estimate["value"] for name, estimate in found.items()},
            "intervals": {
                name: [e["low"], e["high"]] for name, e in found.items() if e["low"] is not None
            },
            **{key: self.scores[key] for key in kept},
        }

    def gain_over(self, before: Evaluation) -> dict[str, list[float]]:
        """Give value and interval of the paired difference to an evaluation of the same problems.

        A single problem allows no interval, and leaves the result empty.
        """
        gain = compare({"": before.scores}, {"": self.scores})["macro"]
        return {name: list(e.values()) for name, e in gain.items() if e["low"] is not None}


def _judged(lines: Sequence[dict[str, Any]]) -> Judged:
    """Gather the samples of one problem."""
    names = {
        "outcomes": "outcome",
        "extracted": "extracted",
        "tokens": "tokens",
        "finish": "finish",
    }
    columns = {name: tuple(line[key] for line in lines) for name, key in names.items()}
    return Judged(problem_id=lines[0]["problem_id"], **columns)


def evaluate(
    model: Any,
    tokenizer: Any,
    problems: Sequence[Problem],
    rewards: RewardSet,
    *,
    samples: int,
    temperature: float,
    top_p: float,
    max_new_tokens: int,
    batch_size: int,
    seed: int,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
    kept_in: Path | None = None,
) -> Evaluation:
    """Sample each problem `samples` times and verify the answers; see `Settings` of maspo.sampling.

    Samples are kept in the file `kept_in` as they are drawn, and those that it holds are not drawn
    again; it is removed at the end.
    """
    from maspo.sampling.with_transformers import TransformersSampler

    settings = Settings(
        samples=samples,
        temperature=temperature,
        top_p=top_p,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        seed=seed,
    )
    sampler: Any = TransformersSampler(model, tokenizer, chat_template_kwargs)
    keeping = journal(sampler, kept_in, problems, samples) if kept_in else nullcontext(sampler)
    with keeping as sampler:
        drawn = draw(sampler, problems, settings, progress)
    asked = [problem for problem in problems for _ in range(samples)]
    verdicts = rewards.verdicts([sample.text for sample in drawn], asked)
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
