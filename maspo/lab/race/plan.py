"""A race of objectives: which runs it has, and the proof that it is fair."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from maspo.core.advantages import DEFAULT_ADVANTAGES
from maspo.core.reduction import DEFAULT_REDUCTION
from maspo.engines.engine import DEFAULT_ENGINE, Launch, LaunchedEngine, engine_named
from maspo.errors import InputError
from maspo.lab.formatting import rollouts_old
from maspo.lab.formatting import updates as updates_in_words
from maspo.lab.objective_list import Entrant, parse_entrants
from maspo.objectives import make_objective
from maspo.objectives.advice import depends_on_micro_batch
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


def make_plan(
    recipe: Recipe,
    objectives: str,
    *,
    seeds: int,
    updates: Sequence[int] = (),
    staleness: Sequence[int] = (),
    rates: Sequence[float] = (),
    tuning_seeds: int = 0,
    sweep: Sequence[float] = (),
    equal_norm: bool = False,
    engine: str = DEFAULT_ENGINE,
    launch: Launch | None = None,
) -> Plan:
    """Plan a race of `objectives` (see `parse_entrants`) on a recipe.

    Seeds count up from the recipe's. `rates` are tuned on seeds of their own, `sweep` is raced whole.
    With `equal_norm` the updates of all are scaled to the first's, see `training.match_norm`.
    Advantages and reduction are the recipe's, or else those of
    the first objective, for all. Raises InputError where a run could not be made, two objectives are
    the same, or the engine has no use for a setting of `launch`.
    """
    launch = launch or Launch()
    trainer = engine_named(engine)
    launch.check(trainer)
    if isinstance(trainer, LaunchedEngine) and not launch.dry_run:
        raise InputError(
            f"a race reads the scores of its runs, which {trainer.supported.title} keeps in its own logs; "
            "--dry-run checks the runs and prints their commands"
        )
    if recipe.evaluation is None:
        raise InputError("a race compares scores after training: give the recipe an evaluation")
    if seeds < 1 or (rates and tuning_seeds < 1):
        raise InputError("a race needs at least one seed, and so does the tuning")
    recipe.check_evaluation()
    entrants = parse_entrants(objectives)
    content = recipe.model_dump()
    content["objective"] = entrants[0].settings
    if "keep" not in recipe.training.model_fields_set:  # nobody extends one run of many
        content["training"]["keep"] = 0
    baseline = parse_recipe(content)
    content["training"]["advantages"] = baseline.advantages
    content["training"]["reduction"] = baseline.reduction
    if equal_norm:
        content["training"]["match_norm"] = entrants[0].settings
    updates = tuple(updates) or (recipe.training.updates_per_rollout,)
    for count in updates:
        if count < 1 or recipe.completions % count:
            raise InputError(
                f"a rollout of {recipe.completions} completions cannot be divided into "
                f"{count} updates"
            )
    staleness = tuple(staleness) or (recipe.rollout.staleness,)
    if min(staleness) < 0:
        raise InputError(f"a staleness must be at least 0, not {min(staleness)}")
    if any(not 0 < rate < math.inf for rate in (*rates, *sweep)):
        raise InputError("learning rates must be positive")
    if rates and sweep:
        raise InputError(
            "learning rates are tuned (--tune) or all of them raced (--rates), not both"
        )
    if len(sweep) == 1:
        raise InputError("one learning rate is no sweep: give --rates two or more")
    if recipe.seed <= TUNING_SEED < recipe.seed + seeds and rates:
        raise InputError(f"seeds from {TUNING_SEED} on are for tuning; choose another seed")
    plan = Plan(
        recipe=parse_recipe(content),
        entrants=entrants,
        updates=_distinct("updates per rollout", updates),
        staleness=_distinct("staleness", staleness),
        seeds=tuple(range(recipe.seed, recipe.seed + seeds)),
        rates=_distinct("learning rates", rates),
        sweep=tuple(sorted(_distinct("learning rates", sweep))),
        tuning_seeds=tuple(range(TUNING_SEED, TUNING_SEED + tuning_seeds)) if rates else (),
        engine=engine,
        launch=launch,
    )
    check_fairness(
        {trial.name: plan.recipe_of(trial) for trial in plan.trials()}, tuned=bool(sweep)
    )
    return plan


def _distinct(what: str, values: Sequence[Any]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise InputError(f"{what} {', '.join(map(str, values))}: one is given twice")
    return tuple(values)


# --- the proof that it is fair -------------------------------------------------------------------

MAY_DIFFER = frozenset({"objective"})
"""Keys of a recipe in which the runs of one seed and one condition may differ."""


def differences(one: Recipe, other: Recipe) -> dict[str, tuple[Any, Any]]:
    """Give the keys in which two recipes differ, with both values; `objective` counts as one key."""
    left, right = (_flat(recipe.model_dump()) for recipe in (one, other))
    return {
        key: (left.get(key), right.get(key))
        for key in {**left, **right}
        if left.get(key) != right.get(key)
    }


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value and key not in ("objective", "match_norm"):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def check_fairness(
    recipes: dict[str, Recipe], *, tuned: bool = False
) -> dict[str, tuple[str, ...]]:
    """Give, for each run, the keys in which it differs from the first of its seed and condition.

    Args:
        recipes: by name, the runs of one race.
        tuned: whether learning rates were chosen for each objective, or swept.

    Raises InputError where one differs in anything but the objective, or the tuned learning rate.
    """
    allowed = MAY_DIFFER | ({"training.learning_rate"} if tuned else set())
    firsts: dict[tuple[int, Condition], Recipe] = {}
    found = {}
    for name, recipe in recipes.items():
        condition = Condition(
            updates=recipe.training.updates_per_rollout, staleness=recipe.rollout.staleness
        )
        first = firsts.setdefault((recipe.seed, condition), recipe)
        keys = tuple(differences(first, recipe))
        unfair = sorted(set(keys) - allowed)
        if unfair:
            raise InputError(f"the race is not fair: run {name} differs in {', '.join(unfair)}")
        found[name] = keys
    return found


def strangers(plan: Plan) -> list[str]:
    """Name the objectives whose papers take other advantages or another reduction than the race."""
    training, said = plan.recipe.training, []
    for entrant in plan.entrants:
        own = make_objective(**entrant.settings)
        theirs = [
            f"{what} {value}"
            for what, value, given in (
                ("advantages", own.advantages or DEFAULT_ADVANTAGES, training.advantages),
                ("reduction", own.reduction or DEFAULT_REDUCTION, training.reduction),
            )
            if value != given
        ]
        if theirs:
            said.append(f"{entrant.label}: its paper has {' and '.join(theirs)}")
    return said


def couplings(plan: Plan) -> list[str]:
    """Name the objectives that couple the batch, with the part of an update that each run showed them."""
    recipes = {trial.updates: plan.recipe_of(trial) for trial in plan.trials()}
    parts = " and ".join(
        f"{recipe.training.micro_batch} of {recipe.completions_per_update} completions at "
        f"{updates} updates per rollout"
        for updates, recipe in recipes.items()
    )
    changed = any(r.training.micro_batch < r.completions_per_update for r in recipes.values())
    changed |= len({recipe.training.micro_batch for recipe in recipes.values()}) > 1
    return [
        f"{entrant.label}: weighs tokens by their place in the micro-batch, which was {parts}"
        for entrant in plan.entrants
        if changed and depends_on_micro_batch(make_objective(**entrant.settings))
    ]


def matched(plan: Plan) -> list[str]:
    """Say whose norm the updates of all have, where they were scaled."""
    other = plan.recipe.make_match_norm()
    return [] if other is None else [f"every update is scaled to the norm of {other}"]


def recipe_text(plan: Plan, trial: Trial) -> str:
    """Write the recipe of one run as YAML."""
    return dump_recipe(plan.recipe_of(trial))
