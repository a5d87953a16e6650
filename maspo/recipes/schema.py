"""The one schema of a training run, strict: a key it does not know is an error."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from maspo.core.advantages import DEFAULT_ADVANTAGES
from maspo.core.objective import Objective
from maspo.core.reduction import DEFAULT_REDUCTION
from maspo.data import Problem
from maspo.errors import InputError
from maspo.objectives import make_objective
from maspo.recipes.sections.base import BY_NAME, Section
from maspo.recipes.sections.data import ARITHMETIC, TrainingData
from maspo.recipes.sections.evaluation import Evaluation
from maspo.recipes.sections.model import Model
from maspo.recipes.sections.reward import RewardSection
from maspo.recipes.sections.rollout import Rollout
from maspo.recipes.sections.training import Training
from maspo.rewards.reward_set import check_problems


class Recipe(Section):
    """A training run, whole."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")] = "run"
    """Letters, digits and `_.-`; folders of runs are named after it."""
    about: str = ""
    """A sentence for `maspo recipes`."""
    seed: int = 0
    """Of sampling, data order and dropout."""
    model: Model = Model()
    """Which model is trained."""
    data: TrainingData = TrainingData()
    """Which problems are trained on."""
    objective: Annotated[dict[str, Any], BY_NAME] = {"name": "maspo"}
    """`name`, one of `maspo objectives`, and its hyperparameters; or the name alone."""
    rollout: Rollout = Rollout()
    """What is sampled before the policy is updated."""
    training: Training = Training()
    """How the policy is updated."""
    evaluation: Evaluation | None = Evaluation()
    """How the model is judged; with null it is not."""
    reward: RewardSection = RewardSection()
    """What completions are rewarded for."""
    tracker: Literal["tensorboard", "wandb", "trackio"] | None = None
    """Shows metrics and evaluations beside the run's own report; with TRL from files in its folder."""
    push_to_hub: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    """`owner/name` of a repository on the hub that model, card and adapter are uploaded to; with TRL."""
    trl: dict[str, Any] = {}
    """Any further setting of TRL's GRPOConfig, by its name there."""
    verl: dict[str, Any] = {}
    """Any further setting of verl, by its dotted name there; one that verl does not have yet, with +."""

    def make_objective(self) -> Objective:
        """Make the objective; InputError where its name or a hyperparameter is wrong."""
        return make_objective(**{"name": "maspo", **self.objective})

    def make_match_norm(self) -> Objective | None:
        """Make the objective of `training.match_norm`; None without one."""
        given = self.training.match_norm
        return None if given is None else make_objective(**{"name": "maspo", **given})

    @property
    def reduction(self) -> str:
        """The reduction: the one that is set, or the objective's own."""
        return self.training.reduction or self.make_objective().reduction or DEFAULT_REDUCTION

    @property
    def advantages(self) -> str:
        """The advantage estimator: the one that is set, or the objective's own."""
        return self.training.advantages or self.make_objective().advantages or DEFAULT_ADVANTAGES

    def check_evaluation(self) -> None:
        """Raise InputError for own data without evaluation data: no run is judged by the built-in sums.

        `plan` shows such a recipe, and no run begins with it.
        """
        if self.evaluation is None:
            return
        named = "source" in self.evaluation.data.model_fields_set
        if self.data.source != ARITHMETIC and not named:
            raise InputError(
                f"data.source is {self.data.source}, and no evaluation data are named: give "
                "evaluation.data.source, or evaluation: null for a run that is not evaluated"
            )

    def problems(self) -> tuple[list[Problem], list[Problem]]:
        """Load the problems of training and of evaluation; InputError where a gold cannot be judged by.

        Those of evaluation are none where there is no evaluation.
        """
        self.check_evaluation()
        specs = self.reward.specs
        whole = not all(spec.verdicts for spec in specs)
        training = self.data.load(whole=whole)
        held_out = [] if self.evaluation is None else self.evaluation.data.load(whole=whole)
        for part in (training, held_out):
            check_problems(specs, part)
        return training, held_out

    @property
    def completions(self) -> int:
        """Completions in a rollout."""
        return self.rollout.prompts * self.rollout.samples

    @property
    def completions_per_update(self) -> int:
        """Completions in an optimizer step."""
        return self.completions // self.training.updates_per_rollout

    @model_validator(mode="before")
    @classmethod
    def _one_place_for_template_variables(cls, content: Any) -> Any:
        """Take TRL's name of `model.chat_template_kwargs`: under `trl` evaluations would not see them."""
        trl = content.get("trl") if isinstance(content, dict) else None
        if not isinstance(trl, dict) or "chat_template_kwargs" not in trl:
            return content
        model = content.get("model") or {}
        if not isinstance(model, dict) or model.get("chat_template_kwargs") is not None:
            raise ValueError("chat_template_kwargs belong under model alone, not under trl as well")
        moved = {"chat_template_kwargs": trl["chat_template_kwargs"]}
        rest = {name: value for name, value in trl.items() if name not in moved}
        return {**content, "model": {**model, **moved}, "trl": rest}

    @model_validator(mode="after")
    def _divisible(self) -> Recipe:
        check_division(self, processes=1)
        self.make_objective()
        self.make_match_norm()
        if self.rollout.correction and not self.rollout.staleness:
            raise ValueError("rollout.correction would do nothing without rollout.staleness")
        return self


def check_division(recipe: Recipe, processes: int) -> None:
    """Raise ValueError where a rollout cannot be dealt out evenly to updates and micro-batches."""
    updates, micro = recipe.training.updates_per_rollout, recipe.training.micro_batch
    total = f"{recipe.rollout.prompts} prompts x {recipe.rollout.samples} samples = {recipe.completions}"
    if recipe.completions % updates:
        raise ValueError(
            f"{total} completions cannot be divided into {updates} updates per rollout"
        )
    if recipe.completions_per_update % (micro * processes):
        by = (
            f"{processes} processes x micro_batch {micro}"
            if processes > 1
            else f"micro_batch {micro}"
        )
        raise ValueError(
            f"{total} completions make updates of {recipe.completions_per_update}, which {by} does not divide"
        )
