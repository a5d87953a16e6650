"""A race of objectives: which runs it has."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

from maspo.engines.engine import DEFAULT_ENGINE, Launch
from maspo.lab.formatting import rollouts_old
from maspo.lab.formatting import updates as updates_in_words
from maspo.lab.objective_list import Entrant
from maspo.recipes import Recipe, dump_recipe, parse_recipe

TUNING_SEED = 1001
"""The first seed of the runs that learning rates are tuned on; no race uses it."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """How the completions of a rollout are used: objectives are compared where it is the same."""

    updates: int
    """Optimizer steps on each rollout."""
    staleness: int = 0
    """Rollouts ago that the policy was the one which draws a rollout."""

    def __str__(self) -> str:
        """Say it in words."""
        old = f", {rollouts_old(self.staleness)}" if self.staleness else ""
        return f"{updates_in_words(self.updates)}{old}"


Rates = dict[tuple[str, Condition], float]
"""Learning rates by entrant and condition."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run of a race."""

    entrant: str
    """Label of the objective."""
    condition: Condition
    learning_rate: float
    seed: int
    tuning: bool = False
    """Whether it only serves to choose a learning rate."""

    @property
    def name(self) -> str:
        """Name of its folder."""
        slug = re.sub(r"[^\w.=,+-]", "+", self.entrant)
        rate, lag = f"{self.learning_rate:g}", self.condition.staleness
        stale = f"-stale{lag}" if lag else ""
        return f"{slug}-u{self.updates}{stale}-lr{rate}-seed{self.seed}"

    @property
    def updates(self) -> int:
        """Optimizer steps on each rollout."""
        return self.condition.updates


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A race: every entrant with every number of updates, every staleness and every seed.

    The first entrant is the baseline, to which the others are compared.
    """

    recipe: Recipe
    """What is the same in all runs, advantages and reduction spelled out."""
    entrants: tuple[Entrant, ...]
    updates: tuple[int, ...]
    staleness: tuple[int, ...]
    seeds: tuple[int, ...]
    rates: tuple[float, ...] = ()
    """Learning rates to choose from for each entrant; none: all take the recipe's."""
    sweep: tuple[float, ...] = ()
    """Learning rates that every entrant is raced at, each of them, ascending; none: one rate each."""
    tuning_seeds: tuple[int, ...] = ()
    engine: str = DEFAULT_ENGINE
    """What trains all of them, by its name in `ENGINES`."""
    launch: Launch = field(default_factory=Launch)
    """How each run is started."""

    @property
    def labels(self) -> list[str]:
        """Labels of the entrants, the baseline first."""
        return [entrant.label for entrant in self.entrants]

    @property
    def conditions(self) -> list[Condition]:
        """List the conditions, the freshest data of each number of updates first as given."""
        return [
            Condition(updates=updates, staleness=staleness)
            for updates in self.updates
            for staleness in self.staleness
        ]

    def tuning_trials(self) -> list[Trial]:
        """List the runs that learning rates are chosen by, seed by seed."""
        return [
            Trial(entrant=label, condition=condition, learning_rate=rate, seed=seed, tuning=True)
            for seed in self.tuning_seeds
            for rate in self.rates
            for condition in self.conditions
            for label in self.labels
        ]

    def trials(self, rates: Rates | None = None) -> list[Trial]:
        """List the runs of the race, seed by seed, so that a race cut short stays fair.

        Args:
            rates: the tuned learning rates; without one an entrant that was to be tuned has no runs.
        """
        given = self.sweep or (self.recipe.training.learning_rate,)

        def of(label: str, condition: Condition) -> tuple[float, ...]:
            if rates is None:
                return given
            return (rates[label, condition],) if (label, condition) in rates else ()

        return [
            Trial(entrant=label, condition=condition, learning_rate=rate, seed=seed)
            for seed in self.seeds
            for condition in self.conditions
            for label in self.labels
            for rate in of(label, condition)
        ]

    def recipe_of(self, trial: Trial) -> Recipe:
        """Give the recipe of one run."""
        content = self.recipe.model_dump()
        content["objective"] = next(e.settings for e in self.entrants if e.label == trial.entrant)
        content["seed"] = trial.seed
        content["rollout"]["staleness"] = trial.condition.staleness
        content["training"]["learning_rate"] = trial.learning_rate
        content["training"]["updates_per_rollout"] = trial.updates
        content["training"]["micro_batch"] = self.micro_batch(trial.updates)
        return parse_recipe(content)

    def micro_batch(self, updates: int) -> int:
        """Return the largest micro-batch within the recipe's that divides an update."""
        return math.gcd(self.recipe.training.micro_batch, self.recipe.completions // updates)

    def describe(self) -> dict[str, Any]:
        """Give the plan as plain data, from which it can be made again."""
        return {
            "recipe": self.recipe.model_dump(),
            "entrants": {entrant.label: entrant.settings for entrant in self.entrants},
            "updates_per_rollout": list(self.updates),
            "staleness": list(self.staleness),
            "seeds": list(self.seeds),
            "rates": list(self.rates),
            "sweep": list(self.sweep),
            "tuning_seeds": list(self.tuning_seeds),
            "engine": self.engine,
            "launch": self.launch.given(),
        }

    @classmethod
    def read(cls, content: dict[str, Any]) -> Plan:
        """Make a plan from what `describe` gave."""
        entrants = content["entrants"].items()
        return cls(
            recipe=parse_recipe(content["recipe"]),
            entrants=tuple(Entrant(label=label, settings=found) for label, found in entrants),
            updates=tuple(content["updates_per_rollout"]),
            staleness=tuple(content["staleness"]),
            seeds=tuple(content["seeds"]),
            rates=tuple(content["rates"]),
            sweep=tuple(content["sweep"]),
            tuning_seeds=tuple(content["tuning_seeds"]),
            engine=content["engine"],
            launch=Launch(**content["launch"]),
        )


def race_fingerprint(content: dict[str, Any]) -> str:
    """Give the SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def recipe_text(plan: Plan, trial: Trial) -> str:
    """Write the recipe of one run as YAML."""
    return dump_recipe(plan.recipe_of(trial))
