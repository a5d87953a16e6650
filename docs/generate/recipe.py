"""The fields of a recipe."""

from __future__ import annotations

import json
from typing import Any

from generate.markdown import table


def page() -> str:
    """List every key in the order of the schema."""
    from maspo.recipes.reference import recipe_fields

    text = (
        "# Recipe fields\n\nA recipe is one YAML file. Every key, as `--set` takes it. "
        "`maspo recipes fields` prints the same, `maspo recipes schema` is for editors. "
        "A key that is not here is an error.\n"
    )
    groups: dict[str, list[tuple[str, ...]]] = {}
    for field in recipe_fields():
        row = (f"`{field.key}`", field.type, _yaml(field.default), field.meaning)
        groups.setdefault(field.key.partition(".")[0], []).append(row)
    single = [row for rows in groups.values() if len(rows) == 1 for row in rows]
    groups = {"The run": single, **{k: rows for k, rows in groups.items() if len(rows) > 1}}
    for name, rows in groups.items():
        text += f"\n## {name}\n\n" + table(("key", "type", "default", "meaning"), rows)
    return text


def _yaml(value: Any) -> str:
    """Write a default as a recipe has it; nothing for an empty text."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"`{text}`" if text else ""
