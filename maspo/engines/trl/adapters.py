"""The adapters of a recipe, and whether a model has a place for what is asked of it."""

from __future__ import annotations

from typing import Any

import torch

from maspo.engines.trl.config import MASPOConfig
from maspo.engines.trl.past import check_budget
from maspo.errors import InputError
from maspo.recipes.schema import Recipe
from maspo.recipes.sections.model import Lora


def check_model(recipe: Recipe, model: Any) -> None:
    """Raise InputError where the recipe's adapters do not fit `model`, or its past weights the memory."""
    trained = adapted(recipe.model.lora, model)
    budget = recipe.trl.get("staleness_budget_gib", MASPOConfig.staleness_budget_gib)
    if recipe.rollout.staleness:
        check_budget(trained, recipe.rollout.staleness, budget)


def adapted(lora: Lora | None, model: Any) -> Any:
    """Return `model` with its adapters, as a copy without weights; as it is where it gets none.

    Raises InputError where it has no layer that an adapter is asked for, or PEFT takes none there.
    """
    if lora is None:
        return model
    with torch.device("meta"):
        shell = type(model)(model.config)
    return with_adapters(lora, shell)


def with_adapters(lora: Lora, model: Any) -> Any:
    """Put adapters on `model` itself; InputError where they do not fit, as `adapted` says."""
    from peft import get_peft_model

    try:
        return get_peft_model(model, peft_config(lora))
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"model.lora.target does not fit the model: {reason}") from None


def peft_config(lora: Lora) -> Any:
    """Translate the recipe's adapters for PEFT."""
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # pyright: ignore[reportArgumentType]  (a float is fine)
        lora_dropout=lora.dropout,
        target_modules=lora.target,
        task_type="CAUSAL_LM",
    )
