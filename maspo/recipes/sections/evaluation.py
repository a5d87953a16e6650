"""How the model is judged."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from maspo.recipes.sections.base import Count, Section, Share
from maspo.recipes.sections.data import Data


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
