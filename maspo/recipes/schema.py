"""The one schema of a training run, strict: a key it does not know is an error."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from maspo.core.advantages import DEFAULT_ADVANTAGES, ROLLOUT_ADVANTAGES
from maspo.core.objective import Objective
from maspo.core.reduction import DEFAULT_REDUCTION, REDUCTIONS
from maspo.core.rollout import ROLLOUT_MODES
from maspo.data import Problem, load_problems
from maspo.data.sources import is_file
from maspo.errors import InputError
from maspo.objectives import make_objective
from maspo.rewards.reward_set import RewardSet, check_problems, read_specs
from maspo.rewards.spec import Limits, RewardSpec

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
ARITHMETIC = "arithmetic"
"""The built-in generator, the source of a recipe that names none."""

Share = Annotated[float, Field(gt=0, le=1)]


class Section(BaseModel):
    """A part of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Lora(Section):
    """Low-rank adapters instead of all weights."""

    rank: Count = 16
    """Of the two matrices whose product is added to a weight."""
    alpha: Positive = 32
    """The product is scaled by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of an adapter's inputs that is zeroed in training."""
    target: str | list[str] = "all-linear"
    """Names of the layers that get one, as in PEFT."""


class Model(Section):
    """Which model is trained."""

    source: str = "embedded"
    """`embedded`, a hub id, a folder, or a .gguf file, in an installed package `package:file.gguf`."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the weights; for that of the arithmetic see `training.precision`."""
    lora: Lora | None = None
    """Train adapters instead of all weights; null: all weights."""
    chat_template_kwargs: dict[str, Any] | None = None
    """Variables of the chat template, such as `{enable_thinking: false}`, for every prompt."""


class Data(Section):
    """Which problems; see `maspo.data.load_problems`."""

    source: str = ARITHMETIC
    """`arithmetic`, `questions`, `programs`, `reasoning-gym:<task>`, a .jsonl or .parquet file, a hub id."""
    split: str | None = None
    """Of a data set on the hub, or of a generator; null: `train`."""
    limit: Count | None = None
    """How many problems are taken, or made by a generator."""
    seed: int | None = None
    """Shuffles before `limit`; for a generator, which problems it draws."""
    template: str = "{problem}"
    """What the user says; `{problem}` is replaced."""
    columns: dict[str, str] | None = None
    """Names of the columns `prompt`, `answer` and `id`, where they are not found by themselves."""
    options: dict[str, Any] = {}
    """Settings of a reasoning-gym task, by their names there."""

    def load(self, *, whole: bool = False) -> list[Problem]:
        """Load them, whatever the length of their prompts; InputError where that fails.

        `whole` keeps all columns, as `load_problems` says.
        """
        asked = {name: getattr(self, name) for name in Data.model_fields}
        return load_problems(**asked, whole=whole)

    def is_written(self) -> bool:
        """Whether they are read from a file or the hub; else a generator makes them."""
        return is_file(self.source) or "/" in self.source


class TrainingData(Data):
    """Which problems are trained on."""

    max_prompt_tokens: Count | None = None
    """Problems with a longer prompt are left out."""


class RolloutCorrection(Section):
    """Weights that correct for a rollout drawn by another policy; see `maspo.rollout_weights`."""

    mode: Literal[
        "token_truncate",
        "token_mask",
        "sequence_truncate",
        "sequence_mask",
        "seq_mean_k1",
        "seq_mean_k3",
    ] = "token_truncate"
    """Which ratios are cut or masked, and how; see `maspo.ROLLOUT_MODES`."""
    low: Annotated[float, Field(ge=0)] | None = None
    """Lower bound of the ratio; null: the mode's own."""
    high: Annotated[float, Field(ge=0)] | None = None
    """Upper bound of the ratio; null: the mode's own."""


class Rollout(Section):
    """What is sampled before the policy is updated."""

    prompts: Count = 16
    """Problems asked in one rollout."""
    samples: Annotated[int, Field(ge=2)] = 8
    """Completions of each prompt, the group over which rewards are compared."""
    temperature: Positive = 1.0
    """Of sampling; 1 samples from the policy itself."""
    top_p: Share = 1.0
    """Share of the probability that is sampled from."""
    max_completion_tokens: Count = 256
    """Where a completion is cut off, in evaluations too."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """What samples, in evaluations too."""
    staleness: Annotated[int, Field(ge=0)] = 0
    """Rollouts ago: the policy of then draws the completions, and its log-probabilities are the old ones;
    0: the current one. TRL with transformers only."""
    correction: RolloutCorrection | None = None
    """With `staleness`: the old policy is the one that the updates start from, and what it differs from
    the one that drew the rollout is made up for by weights, by a mode of `maspo.ROLLOUT_MODES`."""


def _named(objective: Any) -> Any:
    return {"name": objective} if isinstance(objective, str) else objective


_BY_NAME = BeforeValidator(_named, json_schema_input_type=str | dict[str, Any])
_BY_NAME_OR_NONE = BeforeValidator(_named, json_schema_input_type=str | dict[str, Any] | None)


class Training(Section):
    """How the policy is updated."""

    rollouts: Count = 100
    """Rounds of sampling and updating."""
    updates_per_rollout: Count = 4
    """Optimizer steps on each rollout; with 1 no gate acts."""
    micro_batch: Count = 32
    """Completions in one forward and backward pass of one process."""
    learning_rate: Positive = 1e-6
    """Of AdamW, at the top of the schedule."""
    schedule: Literal["constant", "constant_with_warmup", "linear", "cosine"] = "constant"
    """Course of the learning rate; linear and cosine fall to 0 at the end of the run."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Optimizer steps in which the learning rate rises from 0; none with `constant`."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Of AdamW, per step and learning rate."""
    max_grad_norm: Positive = 1.0
    """A gradient with a larger norm is scaled down to it."""
    reduction: (
        Literal[
            "token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm"
        ]
        | None
    ) = None
    """How token losses become one number; without it as the objective's paper has it."""
    advantages: Literal["group", "center", "loo", "batch", "whiten", "gpg"] | None = None
    """How rewards become advantages; without it as the objective's paper has it."""
    match_norm: Annotated[dict[str, Any] | None, _BY_NAME_OR_NONE] = None
    """An objective, as under `objective`: the coefficients of every micro-batch are scaled by one number,
    so that their root mean square is that objective's. A control for races. TRL only."""
    kl: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the KL divergence from the initial model; 0 spares the reference model."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the arithmetic; auto: bfloat16 where the GPU has it, or the CPU has and the model 10M parameters."""
    gradient_checkpointing: bool = False
    """Compute activations anew in the backward pass: less memory, more time."""
    save_every: Count | None = 10
    """Rollouts between checkpoints, from which an interrupted run goes on; none are written without it."""
    keep: Annotated[int, Field(ge=0)] = 1
    """Checkpoints left when the run is over, the newest; without one it cannot be extended. While it goes
    on there are at least two."""
    save_tokens: Annotated[int, Field(ge=0)] = 8
    """Updates whose tokens are kept, spread over the run, for `maspo replay` and the report; about 140 kB
    each. TRL only."""

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.rollouts * self.updates_per_rollout


class Evaluation(Section):
    """How the model is judged, before training, after it, and on the way if `every` says so."""

    data: Data = Data(split="test", limit=128)
    """Which problems are judged on."""
    samples: Annotated[int, Field(ge=1)] = 8
    """Completions of each problem: the k of avg@k and pass@k."""
    temperature: Annotated[float, Field(ge=0)] = 1.0
    """Of sampling; 0 is greedy."""
    top_p: Share = 1.0
    """Share of the probability that is sampled from."""
    batch_size: Count = 256
    """Completions sampled at once."""
    every: Count | None = None
    """Rollouts between evaluations during training; without it there are none."""
    keep_best: bool = False
    """Save the model with the highest avg@k of the evaluations during and after training, in place of the
    last one. TRL only."""

    @model_validator(mode="after")
    def _something_to_choose_from(self) -> Evaluation:
        if self.keep_best and self.every is None:
            raise ValueError("keep_best has nothing to choose from; set every as well")
        return self


class RewardSection(Section):
    """What completions are rewarded for; without `functions` the verifier checks their answers."""

    functions: list[dict[str, Any]] = []
    """The rewards, `{source: mine.py:closeness, weight: 1.0}` or `{kind: math}`; each with the settings
    of its kind, see `maspo.rewards.KINDS`. Paths are relative to the recipe's file."""
    threshold: float | None = None
    """Where no reward gives verdicts: the weighted score from which an evaluation counts a completion as
    correct; 1 without it."""
    time_limit: Positive = 5.0
    """Seconds of wall clock for one answer, where its reward sets none."""
    workers: Count = 2
    """Processes that check answers."""
    verifier: Literal["extended", "math-verify"] = "extended"
    """How answers are read: with the package's rules before math-verify, or by math-verify alone."""

    @property
    def specs(self) -> list[RewardSpec]:
        """Read what is asked for; nothing is imported."""
        return read_specs(self.functions)

    @property
    def correct_from(self) -> float:
        """The threshold that is set, or its default."""
        return 1.0 if self.threshold is None else self.threshold

    def start(self) -> RewardSet:
        """Import and start the rewards; InputError where one cannot be used."""
        limits = Limits(time_limit=self.time_limit, workers=self.workers, verifier=self.verifier)
        return RewardSet.start(self.functions, limits=limits, threshold=self.correct_from)

    def start_deciding(self) -> RewardSet | None:
        """Start only the reward by whose verdicts evaluations count; None without one.

        None also where that would import the user's code.
        """
        place = next((n for n, spec in enumerate(self.specs) if spec.verdicts), None)
        if place is None or self.specs[place].imports:
            return None
        alone = {"functions": self.functions[place : place + 1], "threshold": None}
        return self.model_copy(update=alone).start()

    @model_validator(mode="after")
    def _sound(self) -> RewardSection:
        deciding = [spec.name for spec in self.specs if spec.verdicts]
        if deciding and self.threshold is not None:
            raise ValueError(
                f"reward.threshold has no effect: evaluations count the verdicts of {deciding[0]}"
            )
        return self


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
    objective: Annotated[dict[str, Any], _BY_NAME] = {"name": "maspo"}
    """`name`, one of `maspo objectives`, and its hyperparameters; or the name alone."""
    rollout: Rollout = Rollout()
    """What is sampled before the policy is updated."""
    training: Training = Training()
    """How the policy is updated."""
    evaluation: Evaluation | None = Evaluation()
    """How the model is judged; with null it is not."""
    reward: RewardSection = RewardSection()
    """What completions are rewarded for."""
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


def _words(field: str) -> set[str]:
    """List the words that a field of `Training` may hold."""
    literal, _ = get_args(Training.model_fields[field].annotation)
    return set(get_args(literal))


assert _words("reduction") == set(REDUCTIONS)
assert set(get_args(RolloutCorrection.model_fields["mode"].annotation)) == set(ROLLOUT_MODES)
assert _words("advantages") == set(ROLLOUT_ADVANTAGES)
