"""Which model is trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from maspo.recipes.sections.base import Count, Positive, Section


class Lora(Section):
    """Low-rank adapters instead of all weights."""

    rank: Count = 16
    """Of the two matrices whose product is added to a weight."""
    alpha: Positive = 32.0
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
    quantization: Literal["4bit", "8bit"] | None = None
    """Hold the weights below the adapters as NF4 (QLoRA, arXiv:2305.14314) or int8; needs bitsandbytes."""
    chat_template: str | None = None
    """A file with the chat template, or `plain`: the prompt alone, for base models; null: the model's own."""
    chat_template_kwargs: dict[str, Any] | None = None
    """Variables of the chat template, such as `{enable_thinking: false}`, for every prompt."""

    @model_validator(mode="after")
    def _quantizable(self) -> Model:
        if self.quantization is None:
            return self
        if self.lora is None:
            raise ValueError(
                f"quantization {self.quantization} freezes the weights, so that adapters are trained: set "
                "lora, as lora={rank: 16}"
            )
        if self.source.endswith(".gguf"):
            raise ValueError(
                f"{self.source} is widened when it is read: leave out quantization, or name the model that "
                "it was made from"
            )
        return self
