"""The completions of a rollout, each prompt of a group run once, in place of transformers' `generate`."""

from __future__ import annotations

from typing import Any

from trl.extras.profiling import profiling_context

from maspo.engines.trl.sharding import gathered_by_trl
from maspo.sampling.group import decode_rows


def complete_rows(trainer: Any, prompt_ids: list[list[int]]) -> list[list[int]]:
    """Return the tokens that the policy of a GRPOTrainer answers to prompts, equal ones side by side.

    Raises Unsupported where only TRL's own way can sample the model, and FloatingPointError where its
    probabilities are not finite.
    """
    with (
        profiling_context(trainer, "transformers.generate"),
        gathered_by_trl(trainer, whole=trainer.args.ds3_gather_for_generation) as model,
        trainer._dist.summon_full_params(trainer.model_wrapped, recurse=False),
    ):
        return decode_rows(model, prompt_ids, trainer.generation_config)
