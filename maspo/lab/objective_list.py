"""Who takes part in a race."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from maspo.errors import InputError

RIVALS = "grpo,clip_higher,dac,entropy_advantage,bapo,sapo,cispo,maspo"
"""Who takes part when nobody is named: MASPO and what its paper compares it with."""

ABLATIONS = (
    "maspo,maspo_no_mass,maspo_no_risk,maspo_hard,maspo:two_sided=true,maspo_capped,"
    "maspo:sigma_base=0.15,maspo:sigma_base=0.3,maspo:sigma_base=3,maspo:alpha=0.6,"
    "maspo_calibrated"
)
"""MASPO with one part changed at a time. Its own sigma_base is 1, alpha 0.3; without mass alpha is 0."""


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """An objective that takes part."""

    label: str
    """As people write it, `maspo:sigma_base=0.3,alpha=0`; no two of a race are equal."""
    settings: dict[str, Any]
    """`name` and hyperparameters, as a recipe has them."""


def parse_entrants(text: str) -> tuple[Entrant, ...]:
    """Read `grpo,maspo:sigma_base=0.3,alpha=0,sapo`.

    A comma begins a new objective, unless what follows is a further `key=value` of the one before:
    no name holds an equals sign. Raises InputError, in one sentence.
    """
    from maspo.objectives import make_objective  # here, as `maspo --help` names the rivals
    from maspo.recipes.load import read_value

    entrants: list[Entrant] = []
    for words in _grouped(text):
        name, _, first = words[0].partition(":")
        settings: dict[str, Any] = {"name": name}
        for item in [first, *words[1:]] if first else []:
            key, equals, value = item.partition("=")
            if not equals or not key or key in settings:
                raise InputError(f"{item!r} of {name} is no key=value, or given twice")
            settings[key] = read_value(value, item)
        make_objective(**settings)
        entrants.append(Entrant(label=_label(settings), settings=settings))
    made = [make_objective(**entrant.settings) for entrant in entrants]
    for index, one in enumerate(made):
        if one in made[:index]:
            same = entrants[made.index(one)].label
            raise InputError(f"{entrants[index].label} and {same} are the same objective")
    return tuple(entrants)


def _grouped(text: str) -> Iterable[list[str]]:
    groups: list[list[str]] = []
    for word in (part.strip() for part in text.split(",")):
        if not word:
            raise InputError(f"an objective is missing between the commas of {text!r}")
        if ":" in word.partition("=")[0] or "=" not in word:
            groups.append([word])
        elif groups and ":" in groups[-1][0]:
            groups[-1].append(word)
        else:
            raise InputError(f"{word!r} must follow a colon, as in maspo:sigma_base=0.3,alpha=0")
    return groups


def _label(settings: dict[str, Any]) -> str:
    words = [
        f"{key}={json.dumps(v).strip(chr(34))}" for key, v in settings.items() if key != "name"
    ]
    return settings["name"] + (":" + ",".join(words) if words else "")
