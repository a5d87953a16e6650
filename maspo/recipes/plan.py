"""A recipe in plain words, before anything is loaded."""

from __future__ import annotations

from maspo.objectives.advice import INERT, partial_batch
from maspo.recipes.schema import Recipe
from maspo.recipes.sections.data import Data
from maspo.recipes.sections.model import Model
from maspo.recipes.sections.training import Training


def plan(recipe: Recipe, processes: int = 1) -> list[str]:
    """Say what a run will do: prompts, completions, micro-batches, updates, and what will not work."""
    rollout, training = recipe.rollout, recipe.training
    updates, micro = training.updates_per_rollout, training.micro_batch
    passes = recipe.completions_per_update // (micro * processes)
    steps = training.rollouts * updates
    lines = [
        f"model      {recipe.model.source}{_adapters(recipe.model)}",
        f"data       {recipe.data.source}",
        f"objective  {recipe.make_objective()}",
        f"rollout    {rollout.prompts} prompts x {rollout.samples} samples = {recipe.completions} "
        f"completions of at most {rollout.max_completion_tokens} tokens",
        *_staleness(recipe),
        f"updates    {updates} per rollout, each on {recipe.completions_per_update} completions in "
        f"{passes} micro-batch{'es' if passes > 1 else ''} of {micro}"
        + (f" on each of {processes} processes" if processes > 1 else ""),
        f"training   {training.rollouts} rollouts = {steps} optimizer steps on "
        f"{training.rollouts * recipe.completions} completions",
        f"rate       {_rate(training)}",
        *_match_norm(recipe),
        f"loss       advantages {recipe.advantages}, reduction {recipe.reduction}, {_kl(training)}",
        *_rewards(recipe),
        f"evaluation {_evaluation(recipe)}",
    ]
    return lines + [f"warning    {text}" for text in recipe_warnings(recipe)]


def _adapters(model: Model) -> str:
    over = f" over weights in {model.quantization}" if model.quantization else ""
    return f", LoRA adapters{over}" if model.lora else ""


def _rate(training: Training) -> str:
    schedule = training.schedule.replace("_", " ")
    steps = f" over {training.warmup_steps} steps" if training.warmup_steps else ""
    adam = training.optimizer
    betas = " and ".join(f"{beta:g}" for beta in adam.betas)
    return (
        f"learning rate {training.learning_rate:g}, {schedule}{steps}; {adam.name}, betas {betas}"
        + (f", weight decay {training.weight_decay:g}" if training.weight_decay else "")
    )


def _kl(training: Training) -> str:
    return f"KL from the initial model x {training.kl:g}" if training.kl else "no KL"


def _staleness(recipe: Recipe) -> list[str]:
    """Say whose completions they are, where they are not the current policy's."""
    lag, correction = recipe.rollout.staleness, recipe.rollout.correction
    if not lag:
        return []
    olds = "whose log-probabilities are the old ones"
    if correction:
        olds = f"which rollout weights correct for ({correction.mode})"
    ago = "1 rollout" if lag == 1 else f"{lag} rollouts"
    return [
        f"staleness  completions are drawn by the policy of {ago} ago, {olds}; until there is one, by the "
        "initial policy"
    ]


def _match_norm(recipe: Recipe) -> list[str]:
    other = recipe.make_match_norm()
    if other is None:
        return []
    return [f"norm       the coefficients of every micro-batch are scaled to the norm of {other}"]


def _rewards(recipe: Recipe) -> list[str]:
    """List the rewards of a recipe, and the user's code that the run will import for them."""
    specs = recipe.reward.specs
    lines = [f"reward     {spec.describe()}" for spec in specs]
    lines += [f"imports    {spec.imports}, when the run starts" for spec in specs if spec.imports]
    if not any(spec.verdicts for spec in specs):
        lines.append(
            f"correct    in evaluations: a completion with a score of {recipe.reward.correct_from:g} or more"
        )
    return lines


def _evaluation(recipe: Recipe) -> str:
    asked = recipe.evaluation
    if asked is None:
        return "none: the model is not evaluated"
    when = "before and after"
    if asked.every is not None:
        between = "rollout" if asked.every == 1 else f"{asked.every} rollouts"
        when = f"before, after every {between}, and at the end"
    saved = "; the best model is saved" if asked.keep_best else ""
    return f"{_problems(asked.data)} x {asked.samples} samples, {when}{saved}"


def recipe_warnings(recipe: Recipe) -> list[str]:
    """List what is known to be wrong with a recipe that is nevertheless valid."""
    objective = recipe.make_objective()
    found = objective.advice()
    partial = partial_batch(objective, recipe.training.micro_batch, recipe.completions_per_update)
    if partial is not None and recipe.training.coupling is None:
        found.append(partial)
    stale = recipe.rollout.staleness and not recipe.rollout.correction
    if recipe.training.updates_per_rollout == 1 and not stale:
        found.append(INERT)
    return found


def _problems(data: Data) -> str:
    split = f", {data.split}" if data.split else ""
    return f"{data.limit or 'all'} problems of {data.source}{split}"
