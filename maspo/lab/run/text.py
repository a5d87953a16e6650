"""The sentences of a report: what a run reached and what its gate did, from its own numbers."""

from collections.abc import Mapping, Sequence
from math import isclose
from statistics import fmean
from typing import Any

from maspo.lab.formatting import (
    duration,
    interval_text,
    percent,
    percent_with_interval,
    points,
    updates,
)
from maspo.lab.run.learning import known, stood_still, without_signal


def scores(summary: Mapping[str, Any]) -> list[str]:
    """List the measured scores, such as avg@8 and pass@8, in the order they were written."""
    measured = {**(summary.get("before") or {}), **(summary.get("after") or {})}
    return [key for key in measured if key.startswith(("avg@", "pass@", "maj@"))]


def mean_rewards(summary: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the mean weighted reward before and after, where it says more than the first score."""
    sides = {n: summary[n] for n in ("before", "after") if summary.get(n)}
    found = {name: side.get("score") for name, side in sides.items()}
    first = next(iter(scores(summary)), None)
    more = (
        score is not None and not isclose(score, sides[name].get(first, score), abs_tol=1e-9)
        for name, score in found.items()
    )
    return found if any(more) else {}


def headline(summary: Mapping[str, Any]) -> str:
    """Say in one sentence what the run reached, as far as it was measured."""
    before, after = summary.get("before") or {}, summary.get("after") or {}
    names = scores(summary)
    if not names:
        return "This run was not evaluated, or has not finished."
    score, with_method = names[0], _method(summary)
    label = score.capitalize()
    if score not in after:
        return f"{label} was {percent(before[score])} before training{with_method}."
    if score not in before:
        return f"{label} is {percent(after[score])} after training{with_method}."
    change, span = after[score] - before[score], ""
    digits = 0 if abs(change) >= 0.1 else 1
    if score in (summary.get("difference") or {}):
        change, low, high = summary["difference"][score]
        span = f", 95% interval {interval_text(low, high, digits, signed=True)}"
    return (
        f"{label} went from {percent(before[score], digits)} to {percent(after[score], digits)} "
        f"({points(change, digits)} points{span}){with_method}."
    )


def judged_on(summary: Mapping[str, Any]) -> str:
    """Say on what a run was evaluated; `held-out` only where no problem was trained on."""
    side, overlap = summary.get("after") or {}, summary.get("held_out") or {}
    trained_on = overlap.get("also_in_training")
    held_out = "held-out " if trained_on == 0 else ""
    text = f"{side['problems']} {held_out}problems x {side['samples']} samples"
    if not trained_on:
        return text
    all_of_them = "all" if trained_on == side["problems"] else str(trained_on)
    return f"{text}, {all_of_them} of them also in the training data"


def run_warnings(summary: Mapping[str, Any]) -> list[str]:
    """List what a reader must know before the scores: nothing was learned, problems were trained on."""
    trained_on = (summary.get("held_out") or {}).get("also_in_training")
    leaked = [f"Not held out: {judged_on(summary)}."] if trained_on and summary.get("after") else []
    return [*(summary.get("warnings") or ()), *leaked]


def no_change_warning(summary: Mapping[str, Any]) -> str | None:
    """Warn when the interval of the first score's difference holds zero; None when it does not."""
    first = next(iter(scores(summary)), None)
    _, low, high = (summary.get("difference") or {}).get(first, (None, None, None))
    if low is None or not low <= 0 <= high:
        return None
    return "The interval holds zero: this run alone shows no change."


def _method(summary: Mapping[str, Any]) -> str:
    words = ""
    if seconds := summary.get("train_seconds"):
        words += f" in {duration(seconds)} of training"
    if title := (summary.get("objective") or {}).get("title"):
        words += f" with {title}"
    if count := summary.get("updates_per_rollout"):
        words += f", {updates(count)}"
    return words


def saved_model(summary: Mapping[str, Any]) -> str | None:
    """Say which model was saved, where the run had a choice; None where it had none."""
    saved = summary.get("saved") or {}
    if not saved.get("best"):
        return None
    at = saved["rollouts"]
    score = next(one for one in summary["evaluations"] if one["rollouts"] == at)
    which = "the last one" if score["name"] == "after" else f"that after rollout {at}"
    return (
        f"The saved model is {which}, the best of the evaluations: {score['metric']} "
        f"{percent_with_interval(score['value'], score['low'], score['high'])}. It was chosen by this "
        "score, which therefore flatters it."
    )


def limiter(summary: Mapping[str, Any]) -> str:
    """Name what held tokens back in a run: a hard clip or a soft gate."""
    return "clip" if (summary.get("objective") or {}).get("shape") == "hard" else "gate"


def gate_words(summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Tell in a few sentences what the gate, or the clip, did to this run's tokens."""
    what = limiter(summary)
    if without_signal(rows):
        return [f"The {what} had nothing to act on: in no group did the rewards differ."]
    if stood_still(summary):
        return [f"What the {what} did had no effect: the weights did not move."]
    active = known(rows, "maspo/gate_active") or known(rows, "clip_ratio/region_mean")
    if not active:
        return [f"This run logged nothing about its {what}."]
    if max(active) == 0:
        return [_idle(what, summary.get("updates_per_rollout"))]
    top = max(active)
    told = [
        f"Over the run the {what} touched {_share(fmean(active))} of the tokens, "
        f"and {_share(top)} at its busiest step."
    ]
    if gate := known(rows, "maspo/gate_mean"):
        told.append(
            f"On average a token kept {percent(fmean(gate), 2)} of its weight "
            f"({percent(min(gate), 2)} at the lowest step)."
        )
    if mass := known(rows, "maspo/grad_mass_vs_clip"):
        told.append(
            f"The gradient mass kept was {fmean(mass):.2f} times "
            "what GRPO's hard clip would have kept of the same tokens."
        )
    return told


def _idle(what: str, updates: int | None) -> str:
    if updates == 1:
        why = (
            "with one update per rollout the policy that learns is the one that sampled, "
            "so every ratio is 1"
        )
    else:
        why = "at no logged step did a token move far enough to lose 1% of its weight"
    return (
        f"The {what} never acted in this run: {why}. "
        "In effect it trained with the plain policy gradient."
    )


def _share(share: float) -> str:
    return percent(share, 0 if share >= 0.1 else 1 if share >= 0.001 else 3)
