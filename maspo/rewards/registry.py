"""The kinds of reward, by name: a new kind is a file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from maspo.errors import InputError, unknown
from maspo.rewards.code_reward import CodeSpec
from maspo.rewards.function_reward import FunctionSpec
from maspo.rewards.math_reward import MathSpec
from maspo.rewards.spec import RewardSpec

KINDS: dict[str, type[RewardSpec]] = {
    spec.kind: spec for spec in (MathSpec, FunctionSpec, CodeSpec)
}


def read_spec(given: Mapping[str, Any]) -> RewardSpec:
    """Read one entry of a recipe's `reward.functions`; with a `source` the kind is `function`.

    Raises InputError for a kind or a setting that there is not, and for values out of bounds.
    """
    settings = dict(given)
    kind = settings.pop("kind", "function" if "source" in settings else None)
    if kind is None:
        raise InputError(
            f"a reward needs a source, file.py:name, or a kind, one of {', '.join(KINDS)}"
        )
    if kind not in KINDS:
        raise unknown("kind of reward", str(kind), KINDS)
    known = {field.name: field for field in fields(KINDS[kind])}
    for name in settings:
        if name not in known:
            raise unknown(f"setting of the reward {kind}", name, known)
    if kind == "function" and "source" not in settings:
        raise InputError("a reward of the kind function needs a source, file.py:name")
    return KINDS[kind](**settings)


def reads(answer: Any) -> bool:
    """Return whether some kind judges by golds of the form of `answer`."""
    return any(spec.objection(answer) is None for spec in KINDS.values() if spec.verdicts)


def row_gold(row: Mapping[str, Any]) -> Any:
    """Return the gold that a row holds in the columns of some kind; None where it has none."""
    found = (spec.gold_of(row) for spec in KINDS.values())
    return next((gold for gold in found if gold is not None), None)
