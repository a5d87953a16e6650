"""What is checked before a model samples: held-out problems, golds that can be reached, room for prompts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from typing import Any

from maspo.data import Problem
from maspo.data.held_out import also_in_training
from maspo.errors import InputError
from maspo.evaluation.golds import try_golds
from maspo.lab.console import Teller
from maspo.models.load import ModelLimits
from maspo.recipes import Recipe
from maspo.rewards import RewardSet
from maspo.sampling.text import check_room, check_template_variables, prompt_tokens

SHOWN = 5
"""Examples that a sentence names."""


def check_held_out(
    recipe: Recipe,
    training: Sequence[Problem],
    evaluation: Sequence[Problem],
    screen: Teller,
    *,
    strict: bool,
) -> dict[str, Any] | None:
    """Count the problems of the evaluation that are trained on, for the summary of the run.

    Where there are any the screen says so; under `strict` InputError does. None without evaluation.
    """
    if recipe.evaluation is None:
        return None
    templates = recipe.evaluation.data.template, recipe.data.template
    found = also_in_training(evaluation, training, templates=templates)
    ids = [problem.id for problem in found]
    if ids:
        sentence = (
            f"{len(ids)} of the {len(evaluation)} problems of the evaluation are also in the training "
            f"data, so that their scores show what was memorised: {_listed(ids)}"
        )
        complain(sentence, screen, strict=strict)
    return {"problems": len(evaluation), "also_in_training": len(ids), "ids": ids}


def check_golds_reached(
    problems: Mapping[str, Sequence[Problem]], rewards: RewardSet, screen: Teller, *, strict: bool
) -> None:
    """Say of each named set of problems which golds cannot be reached; under `strict` InputError."""
    for name, each in problems.items():
        sentence = gold_sentence(name, each, rewards)
        if sentence is not None:
            complain(sentence, screen, strict=strict)


def answerable(
    recipe: Recipe,
    training: Sequence[Problem],
    held_out: Sequence[Problem],
    limits: ModelLimits,
    tokenizer: Any,
    screen: Teller,
) -> list[Problem]:
    """Return the training problems whose prompts are within the recipe's limit; say how many are not.

    Every prompt that the run will ask is written: InputError where the chat template or the model's
    context has no room for one, or too few problems are left for a rollout.
    """
    variables, limit = recipe.model.chat_template_kwargs, recipe.data.max_prompt_tokens
    check_template_variables(tokenizer, variables)
    asked = [prompt_tokens(tokenizer, problem, variables) for problem in training]
    within = [limit is None or len(ids) <= limit for ids in asked]
    if not all(within):
        left = len(within) - sum(within)
        screen.say(f"{left} problems with prompts over {limit} tokens left out", "dim")
    prompts = list(compress(asked, within))
    prompts += [prompt_tokens(tokenizer, problem, variables) for problem in held_out]
    tokens = recipe.rollout.max_completion_tokens
    check_room(prompts, limits, tokens, "rollout.max_completion_tokens")
    if sum(within) < recipe.rollout.prompts:
        raise InputError(
            f"a rollout takes {recipe.rollout.prompts} prompts, but only {sum(within)} problems remain"
        )
    return list(compress(training, within))


def gold_sentence(name: str, problems: Iterable[Problem], rewards: RewardSet) -> str | None:
    """Say how many golds cannot be reached or are not read whole, with examples; None where all are well."""
    found = try_golds(problems, rewards)
    if not found.doubtful:
        return None
    of = f"{found.golds}" if found.tried == found.golds else f"the first {found.tried}"
    examples = [f"{one.text!r:.60} of {one.problem_id} ({one.why})" for one in found.doubtful]
    return (
        f"{len(found.doubtful)} of {of} golds of the {name} problems are not satisfied by their own text, "
        "read as prose, or are not read whole, so that hardly any completion can earn their reward: "
        f"{_listed(examples)}"
    )


def complain(sentence: str, screen: Teller, *, strict: bool) -> None:
    """Show a warning, or under `strict` raise InputError."""
    if strict:
        raise InputError(sentence)
    screen.warn(sentence)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
