"""TRL's GRPOConfig with the objective as a value of its own."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trl import GRPOConfig

from maspo.core.advantages import ADVANTAGES, ROLLOUT_ADVANTAGES
from maspo.core.objective import Objective
from maspo.engines.supported import default_of, refuse_owned
from maspo.engines.trl.names import FIELDS, SUPPORTED
from maspo.errors import InputError, unknown
from maspo.objectives import MASPO, OBJECTIVES, as_objective
from maspo.objectives.advice import INERT, partial_batch

LOSS_TYPES = {
    "token-mean": "dapo",
    "seq-mean-token-mean": "grpo",
    "seq-mean-token-sum": "luspo",
    "seq-mean-token-sum-norm": "dr_grpo",
}
"""TRL's word for each reduction; the fifth it may be, bnpo, is a token mean per micro-batch."""

SCALE_REWARDS = {"group": "group", "center": "none", "batch": "batch"}
"""TRL's word for the advantage estimators that it has; of the others ours are put in their place."""

DEFAULT_UPDATES = 4

if TYPE_CHECKING:
    GivenObjective = Objective
else:  # what TrlParser makes of a word on the command line or in a YAML file
    GivenObjective = as_objective


@dataclass
class MASPOConfig(GRPOConfig):
    """GRPOConfig, plus which objective to optimise and how often per rollout.

    `loss_type` selects the normaliser alone: dapo, bnpo, grpo, luspo or dr_grpo. Where it, or
    `advantages` and `scale_rewards`, are left out, they are those that the objective's method has,
    and TRL's defaults for a method that has none. The settings of TRL's own losses (`epsilon`,
    `delta`, ...) are fields of the objective: here they are None, and any other value is refused,
    TRL's default too. Raises InputError for these, and under `strict` for a set-up in which no gate
    can act.
    """

    objective: GivenObjective = field(default_factory=MASPO)
    """What to optimise, for example `maspo.MASPO(alpha=0.5)`, or a name in `maspo.OBJECTIVES`."""

    loss_type: str | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    """The normaliser, by TRL's name; without it the one of `objective.reduction`, or TRL's default."""

    scale_rewards: str | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    """As in TRL, booleans included; without it what `advantages` needs, or TRL's default."""

    updates_per_rollout: int | None = None
    """Optimizer steps on each generation batch; sets `steps_per_generation`. Without it and without
    TRL's own two settings it is 4."""

    advantages: str | None = None
    """Advantage estimator, a name in `maspo.ADVANTAGES` that needs no history; without it and without
    `scale_rewards` the objective's own, or TRL's."""

    group_decoding: bool = True
    """Prefill each prompt once for all its completions and let finished rows leave the batch, where
    transformers generates. Same distribution, other random numbers than stock TRL."""

    skip_dead_rows: bool = True
    """Keep completions out of the loss passes whose coefficients are all zero, as in a group of equal
    rewards, where no KL term, entropy bonus or batch-coupled objective needs them. The normalisers
    stay those of all completions."""

    trim_padding: bool = True
    """Deal the completions of a rollout so that those of a prompt are in one update, as in verl, and those
    of an update to micro-batches by prompt or by length; run the model in passes of like rows that are
    no wider than their longest one."""

    share_prefix: bool = True
    """Run each distinct prompt of a pass once, with gradient, and its completions behind its keys and
    values, where that costs less. Same gradients; models that this cannot be done with say so once."""

    reuse_first_forward: bool = True
    """Take the old log-probabilities of the first update from its own forward pass, and compute those of
    the later ones for the completions that have a gradient; with `num_iterations` 1 and without vLLM."""

    diagnostics_every: int = 1
    """Describe the gate, under `maspo/...` in the log, on every so many micro-batches of training."""

    staleness: int = 0
    """Draw each rollout, and score its old log-probabilities, by the weights of so many rollouts ago; at
    the first rollouts by the oldest there are. 0: by the current ones. Not with vLLM."""

    correction: dict[str, Any] | None = None
    """With `staleness`: `mode`, `low` and `high` of `maspo.rollout_weights`. The old policy is then the
    one that the updates start from, and the weights make up for the one that drew the rollout."""

    staleness_budget_gib: float = 8.0
    """Memory in GiB that the weights kept for `staleness` may take; each checkpoint holds them too."""

    match_norm: Objective | None = None
    """Scale the coefficients of every micro-batch so that their root mean square is this objective's."""

    strict: bool = False
    """Refuse what is otherwise only warned of."""

    # The settings of TRL's own losses that have a default there. Nothing follows them here, and None,
    # which `to_dict` and pickles keep, is told from TRL's default where that was given.
    epsilon: float | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    importance_sampling_level: str | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    sapo_temperature_pos: float | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    sapo_temperature_neg: float | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    vespo_k_pos: float | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    vespo_lambda_pos: float | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    vespo_k_neg: float | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    vespo_lambda_neg: float | None = None  # pyright: ignore[reportIncompatibleVariableOverride]

    def __post_init__(self) -> None:
        """Check what TRL cannot know of, then let it check the rest."""
        self.objective = as_objective(self.objective)
        self._choose_reduction()
        self._refuse_settings_without_effect()
        self._choose_advantages()
        self._check_staleness()
        if self.diagnostics_every < 1:
            raise InputError(f"diagnostics_every must be at least 1, not {self.diagnostics_every}")
        given = self.generation_batch_size or self.steps_per_generation
        if self.updates_per_rollout is not None and given:
            raise InputError(
                "updates_per_rollout sets steps_per_generation: give only one of "
                "updates_per_rollout, steps_per_generation and generation_batch_size"
            )
        if not given:
            updates = (
                DEFAULT_UPDATES if self.updates_per_rollout is None else self.updates_per_rollout
            )
            if updates < 1:
                raise InputError(f"updates_per_rollout must be at least 1, not {updates}")
            self.steps_per_generation = updates * self.gradient_accumulation_steps
        super().__post_init__()
        self.updates_per_rollout = self._count_updates()
        if self.updates_per_rollout <= 1 and (not self.staleness or self.correction):
            self.complain(INERT)
        part = self.per_device_train_batch_size * self.world_size
        if self.needs_groups and self.per_device_train_batch_size % (self.num_generations or 1):
            raise InputError(
                f"{self.objective.title} needs whole groups: per_device_train_batch_size "
                f"(training.micro_batch) must be a multiple of num_generations (rollout.samples), "
                f"{self.num_generations}, and is {self.per_device_train_batch_size}"
            )
        partial = partial_batch(self.objective, part, part * self.gradient_accumulation_steps)
        if partial is not None:
            self.complain(partial)

    def _choose_reduction(self) -> None:
        if self.loss_type is None:
            own = self.objective.reduction
            self.loss_type = default_of(GRPOConfig, "loss_type") if own is None else LOSS_TYPES[own]

    def _refuse_settings_without_effect(self) -> None:
        for name, ours in FIELDS.items():
            setting = (name, getattr(self, name), None)
            refuse_owned(SUPPORTED, [setting], f"on the objective, where it is {ours}")
        if self.loss_type not in (*LOSS_TYPES.values(), "bnpo"):
            cure = (
                f"give objective={self.loss_type!r} in its place"
                if self.loss_type in OBJECTIVES
                else "`objective` is the rest"
            )
            raise InputError(
                f"loss_type={self.loss_type!r} is no normaliser, which is all that it selects here, "
                f"one of {', '.join(LOSS_TYPES.values())} or bnpo: {cure}"
            )

    def _choose_advantages(self) -> None:
        given: Any = self.scale_rewards
        if isinstance(given, bool):
            given = "group" if given else "none"
        if self.advantages is None and given is None:
            self.advantages = self.objective.advantages
        name = self.advantages
        if name is None:
            self.scale_rewards = default_of(GRPOConfig, "scale_rewards") if given is None else given
            return
        if name not in ADVANTAGES:
            raise unknown("advantage estimator", name, ADVANTAGES)
        if name not in ROLLOUT_ADVANTAGES:
            raise InputError(
                f"advantages {name!r} need the earlier rewards of each prompt, which TRL does not keep; "
                f"with TRL take one of {', '.join(sorted(ROLLOUT_ADVANTAGES))}"
            )
        word = SCALE_REWARDS.get(name, default_of(GRPOConfig, "scale_rewards"))
        if given not in (None, word):
            raise InputError(f"advantages {name!r} decide scale_rewards; give only one of the two")
        if self.multi_objective_aggregation != "sum_then_normalize":
            raise InputError(
                f"advantages {name!r} are of the sum of all rewards: give either them or "
                f"multi_objective_aggregation={self.multi_objective_aggregation!r}"
            )
        self.scale_rewards = word

    @property
    def needs_groups(self) -> bool:
        """Whether the objective must know which completions answer the same prompt."""
        return "groups" in self.objective.inputs

    def _check_staleness(self) -> None:
        if self.staleness < 0:
            raise InputError(f"staleness must be at least 0, not {self.staleness}")
        if self.correction and not self.staleness:
            raise InputError("correction would do nothing without staleness")
        if self.staleness and self.use_vllm:
            raise InputError(
                "staleness needs rollouts by transformers, as vLLM is handed the newest weights alone: "
                "set rollout.engine to transformers"
            )

    def _count_updates(self) -> int:
        steps = (self.steps_per_generation or 1) * self.num_iterations
        return max(1, steps // self.gradient_accumulation_steps)

    def complain(self, sentence: str) -> None:
        """Warn, or under `strict` raise InputError."""
        if self.strict:
            raise InputError(sentence)
        warnings.warn(sentence, stacklevel=4)

    def to_dict(self) -> dict[str, Any]:
        """As in TrainingArguments, with the objectives in words."""
        words = {"objective": repr(self.objective), "match_norm": repr(self.match_norm)}
        return {**super().to_dict(), **words}
