"""What a recipe may hold, read from the schema: every key, a JSON Schema, a file to start from."""

from __future__ import annotations

import textwrap
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from maspo.recipes.schema import Recipe

WIDTH = 100
"""Characters of a line of comment in a starter."""


@dataclass(frozen=True, kw_only=True)
class RecipeField:
    """A key of a recipe."""

    key: str
    """With the sections it stands in, as `--set` takes it."""
    type: str
    """What its value may be, in words."""
    default: Any
    """As plain data; of a section that may be null, null or `on`."""
    meaning: str
    """From the schema."""


def recipe_fields() -> list[RecipeField]:
    """List every key of a recipe in the order of the schema; a section only where it may be null."""
    return list(_fields(Recipe, "", Recipe()))


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe's file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Recipe.model_json_schema(),
    }


def starter(content: Mapping[str, Any]) -> str:
    """Write a recipe with what it holds in `content`, and every other key as a comment."""
    return "\n".join(_lines(Recipe, content, Recipe(), "")) + "\n"


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a field's type is or may be; None for a value."""
    options = get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    return next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)


def _fields(section: type[BaseModel], prefix: str, default: BaseModel) -> Iterator[RecipeField]:
    shown = section.model_json_schema()["properties"]
    for name, field in section.model_fields.items():
        value, inner = getattr(default, name), section_of(field.annotation)
        told = RecipeField(
            key=prefix + name,
            type=_type(shown[name]) if inner is None else "section or null",
            default=value if inner is None else None if value is None else "on",
            meaning=_meaning(field),
        )
        if inner is None or isinstance(field.annotation, types.UnionType):
            yield told
        if inner is not None:
            yield from _fields(inner, f"{prefix}{name}.", value or inner())


def _meaning(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


_TYPES = {
    "integer": "whole number", "number": "number", "string": "text", "boolean": "true or false",
    "null": "null", "object": "keys and values", "array": "list",
}  # fmt: skip
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _type(shown: Mapping[str, Any]) -> str:
    """Say in words what a JSON Schema allows."""
    if "anyOf" in shown:
        return " or ".join(map(_type, shown["anyOf"]))
    if "enum" in shown:
        return ", ".join(shown["enum"])
    bounds = [f"{sign} {shown[word]:g}" for word, sign in _BOUNDS.items() if word in shown]
    return " ".join([_TYPES[shown["type"]], *bounds])


def _lines(
    section: type[BaseModel], content: Mapping[str, Any] | None, default: BaseModel, indent: str
) -> Iterator[str]:
    """Write the keys of a section; those that `content` lacks as comments, all of them if it is None."""
    for name, field in section.model_fields.items():
        given, inner = content is not None and name in content, section_of(field.annotation)
        value = content[name] if content is not None and given else getattr(default, name)
        mark = indent if given else f"{indent}# "
        if content is None:
            mark = indent
        yield from textwrap.wrap(
            _meaning(field), WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   "
        )
        if inner is None or (given and value is None):
            yield f"{mark}{name}: {_yaml(value)}"
        else:
            yield f"{mark}{name}:"
            yield from _lines(
                inner, value if given else None, getattr(default, name) or inner(), f"{mark}  "
            )


def _yaml(value: Any) -> str:
    """Write a value in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
