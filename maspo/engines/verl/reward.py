"""The verifier as verl's custom reward function.

    reward.custom_reward_function.path=pkg://maspo.engines.verl.reward

verl calls it for one response at a time, from threads of its reward workers; each worker process
starts one verifier at its first answer and keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from threading import Lock
from typing import Any

from maspo.rewards import Gold, Outcome, Verifier

RULES = ("relative", "absolute", "unit")
"""The rules of `maspo.rewards.Gold` that `extra_info` may hold."""


_STARTING = Lock()


@lru_cache(maxsize=1)
def the_verifier(workers: int, time_limit: float) -> Verifier:
    """Start the verifier of this process, or give the one that is running."""
    return Verifier(workers=workers, time_limit=time_limit)


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    *,
    workers: int = 2,
    time_limit: float = 5.0,
) -> dict[str, Any]:
    """Judge one response: `score` and `acc` 1.0 where it is correct, else 0.0; `pred`; `outcome`.

    `pred` is the answer found, "" where there is none, for verl's maj@k; `outcome` is one of
    `maspo.rewards.Outcome`, so that a failing check never looks like a wrong answer. `workers` and
    `time_limit`, in seconds, come from `reward.custom_reward_function.reward_kwargs`.
    """
    rules = {name: (extra_info or {}).get(name) for name in RULES}
    plain = all(rule is None for rule in rules.values())
    gold: Any = ground_truth if plain else Gold(ground_truth, **rules)
    with _STARTING:  # or two threads would start one each
        verifier = the_verifier(workers, time_limit)
    verdict = verifier.verify([solution_str], [gold])[0]
    score = float(verdict.outcome is Outcome.CORRECT)
    return {
        "score": score,
        "acc": score,
        "pred": verdict.answer or "",
        "outcome": str(verdict.outcome),
    }
