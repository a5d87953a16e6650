"""Did a run learn anything? Its weights, its rewards and its lengths say so; a score alone does not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

UNMOVED = 1e-7
"""A relative change of the weights below which nothing happened: one unit in float32's last place."""


def stood_still(summary: Mapping[str, Any]) -> bool:
    """Return whether the weights of a finished run are those it began with, as far as is known."""
    change = summary.get("weight_change")
    return change is not None and change < UNMOVED


def without_signal(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether in every logged step all groups had equal rewards."""
    shares = known(rows, "frac_reward_zero_std")
    return bool(shares) and min(shares) == 1


def outlook(before: Mapping[str, Any], limit: int) -> str | None:
    """Say after the evaluation before training that rewards will not differ; None where they may.

    Args:
        before: the summary of the evaluation.
        limit: the most tokens of a completion.
    """
    name = next((key for key in before if key.startswith("avg@")), None)
    if name is None or 0 < before[name] < 1:
        return None
    if before[name] == 1:
        return (
            f"{name} is 100% before training: if the training problems are as easy, all rewards of a "
            "group are equal and nothing is learned; take harder problems"
        )
    return (
        f"{name} is 0% before training{_cut(before.get('truncated'), limit)}: if the training problems "
        "are as hard, all rewards of a group are equal and nothing is learned; "
        + _cure(before.get("truncated"))
    )


def complaints(
    summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], *, limit: int, rate: float
) -> list[str]:
    """Say in plain sentences, with the likely cause, what kept a finished run from learning.

    Args:
        summary: of the run.
        rows: its logged metrics.
        limit: the most tokens of a completion.
        rate: the learning rate.
    """
    found = []
    cut = known(rows, "completions/clipped_ratio")
    all_cut = bool(cut) and min(cut) == 1
    if without_signal(rows):
        found.append(_no_signal(known(rows, "reward"), 1.0 if all_cut else None, limit))
    elif all_cut:
        found.append(
            f"Every completion was cut off at {limit} tokens, so that no answer was ever finished: raise "
            "rollout.max_completion_tokens, or see whether the model knows how to end its turn"
        )
    if stood_still(summary):
        found.append(_no_movement(summary["weight_change"], rate, bool(found)))
    return [f"{sentence}." for sentence in found]


def _no_signal(rewards: Sequence[float], cut: float | None, limit: int) -> str:
    if rewards and min(rewards) == max(rewards) == 0:
        return (
            f"No completion earned a reward{_cut(cut, limit)}, so that no group had anything to compare: "
            + _cure(cut)
        )
    if rewards and min(rewards) == max(rewards):
        return (
            f"Every completion earned the same reward, {rewards[0]:g}, so that no group had anything to "
            "compare: take harder problems"
        )
    return (
        "In every group all completions earned the same reward, so that no update had a signal: take "
        "problems that the model solves sometimes, or more samples of each (rollout.samples)"
    )


def _no_movement(change: float, rate: float, explained: bool) -> str:
    if change == 0:
        sentence = "The weights are what they were before training"
    else:
        sentence = f"The weights moved by no more than {change:.0e} of their size"
    sentence += ", so that any change of a score is chance"
    if explained:
        return sentence
    return (
        f"{sentence}: a learning rate of {rate:g} is lost in rounding; raise training.learning_rate"
    )


def _cut(share: float | None, limit: int) -> str:
    if not share:
        return ""
    return f" ({share:.0%} of the completions were cut off at {limit} tokens)"


def _cure(cut: float | None) -> str:
    longer = "raise rollout.max_completion_tokens, " if cut and cut >= 0.5 else ""
    return (
        longer
        + "look at the samples of the run, take easier problems, or ask in data.template for the "
        r"answer in \boxed{}"
    )


def known(rows: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    """List the finite values of a metric."""
    values = (row.get(key) for row in rows)
    return [value for value in values if value is not None and math.isfinite(value)]
