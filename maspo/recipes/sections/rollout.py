"""What is sampled before the policy is updated."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from maspo.core.rollout import ROLLOUT_MODES
from maspo.recipes.sections.base import Count, Positive, Section, Share


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


assert set(get_args(RolloutCorrection.model_fields["mode"].annotation)) == set(ROLLOUT_MODES)
