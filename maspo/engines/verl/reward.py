"""The rewards of a recipe as verl's custom reward function.

    reward.custom_reward_function.path=pkg://maspo.engines.verl.reward

verl calls it for one response at a time, from threads of its reward workers; each worker process
starts the rewards at its first answer and keeps them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from threading import Lock
from typing import Any

from maspo.data import Problem
from maspo.rewards import Limits, RewardSet
from maspo.rewards.reward import score_of

PROBLEM = "problem"
"""The key of `extra_info` that holds a whole problem, as JSON text."""

_STARTING = Lock()


@lru_cache(maxsize=1)
def the_rewards(
    functions: str, threshold: float, workers: int, time_limit: float, verifier: str
) -> RewardSet:
    """Start the rewards of this process, or return those that are running; `functions` is JSON."""
    limits = Limits(workers=workers, time_limit=time_limit, verifier=verifier)
    return RewardSet.start(json.loads(functions), limits=limits, threshold=threshold)


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    *,
    functions: Sequence[Mapping[str, Any]] = (),
    threshold: float = 1.0,
    workers: int = 2,
    time_limit: float = 5.0,
    verifier: str = "extended",
) -> dict[str, Any]:
    """Judge one response; the keywords come from `reward.custom_reward_function.reward_kwargs`.

    Args:
        data_source: not read.
        solution_str: the response.
        ground_truth: the answer, where `extra_info` holds no problem as `verl_rows` writes it.
        extra_info: of the row.
        functions: a recipe's `reward.functions`; none means the verifier.
        threshold: as in a recipe.
        workers: processes that check answers.
        time_limit: seconds for one answer.
        verifier: `extended` or `math-verify`, as in a recipe.

    Returns `score`, the weighted sum of the rewards (0.0 where none has one); `acc`, 1.0 where the
    response is correct, else 0.0; `pred`, the answer found or "", for verl's maj@k; `outcome`, one of
    `maspo.rewards.Outcome`, so that a failing check never looks like a wrong answer; and where
    `functions` are given `rewards/NAME`, the score of each, NaN where it has none.
    """
    with _STARTING:  # or two threads would start them twice
        text = json.dumps([dict(one) for one in functions])
        rewards = the_rewards(text, threshold, workers, time_limit, verifier)
    problem = read_problem(ground_truth, extra_info or {})
    numbers = range(len(rewards.names))
    judgements = [rewards.judge(n, [solution_str], [problem])[0] for n in numbers]
    verdict = rewards.verdict(judgements)
    found = {
        "score": verdict.score or 0.0,
        "acc": float(verdict.correct),
        "pred": verdict.answer or "",
        "outcome": str(verdict.outcome),
    }
    if functions:
        scores = zip(rewards.names, map(score_of, judgements), strict=True)
        found |= {f"rewards/{n}": math.nan if score is None else score for n, score in scores}
    return found


def problem_text(problem: Problem) -> str:
    """Write a problem as the text that `extra_info` holds."""
    return json.dumps(
        {
            "id": problem.id,
            "prompt": list(problem.prompt),
            "answer": problem.answer,
            "columns": dict(problem.columns),
        }
    )


def read_problem(ground_truth: str, extra_info: Mapping[str, Any]) -> Problem:
    """Read the problem of a row; one that we did not write has its answer alone."""
    text = extra_info.get(PROBLEM)
    if text is None:
        return Problem(id="", prompt=(), answer=ground_truth)
    return Problem(**json.loads(text))
