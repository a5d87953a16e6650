"""The completions of a rollout, each prompt of a group run once, in place of transformers' `generate`."""

from __future__ import annotations

from inspect import signature
from typing import Any

from trl.extras.profiling import profiling_context
from trl.models import unwrap_model_for_generation

from maspo.sampling.group import decode_rows


def complete_rows(trainer: Any, prompt_ids: list[list[int]]) -> list[list[int]]:
    """Return the tokens that the policy of a GRPOTrainer answers to prompts, equal ones side by side.

    Raises Unsupported where only TRL's own way can sample the model, and FloatingPointError where its
    probabilities are not finite.
    """
    args = trainer.args
    again = {}
    if "gradient_checkpointing_kwargs" in signature(unwrap_model_for_generation).parameters:
        again = {
            "gradient_checkpointing_kwargs": args.gradient_checkpointing_kwargs
        }  # from TRL 1.16 on
    with (
        profiling_context(trainer, "transformers.generate"),
        unwrap_model_for_generation(
            trainer.model_wrapped,
            trainer.accelerator,
            gather_deepspeed3_params=args.ds3_gather_for_generation,
            generation_kwargs=trainer.generation_kwargs,
            **again,
        ) as model,
        trainer._dist.summon_full_params(trainer.model_wrapped, recurse=False),
    ):
        return decode_rows(model, prompt_ids, trainer.generation_config)
