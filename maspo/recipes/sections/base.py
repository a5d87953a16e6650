"""What the sections of a recipe share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]


Positive = Annotated[float, Field(gt=0)]


Share = Annotated[float, Field(gt=0, le=1)]


class Section(BaseModel):
    """A part of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _named(objective: Any) -> Any:
    return {"name": objective} if isinstance(objective, str) else objective


BY_NAME = BeforeValidator(_named, json_schema_input_type=str | dict[str, Any])


BY_NAME_OR_NONE = BeforeValidator(_named, json_schema_input_type=str | dict[str, Any] | None)
