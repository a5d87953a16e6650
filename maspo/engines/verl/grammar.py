"""Values in the grammar of Hydra's overrides."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from maspo.errors import InputError

_NOT_TEXT = ("true", "false", "null", "inf", "nan")


def hydra(value: Any) -> str:
    """Write a value in the grammar of Hydra's overrides."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{hydra(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(hydra(item) for item in value) + "]"
    if re.fullmatch(r"[A-Za-z_/.][\w./:@-]*", value) and value.lower() not in _NOT_TEXT:
        return value
    return "'" + re.sub(r"(\\*)'", r"\1\1\\'", value) + "'"


def check_plain(key: str, value: Any) -> None:
    """Raise InputError for a text in which verl would look up `${...}`.

    It resolves its configuration twice, so no escape survives.
    """
    if isinstance(value, Mapping):
        for item in value.values():
            check_plain(key, item)
    elif isinstance(value, list | tuple):
        for item in value:
            check_plain(key, item)
    elif isinstance(value, str) and "${" in value:
        raise InputError(
            f"verl would expand the ${{...}} in {value!r}, for {key}: name it otherwise"
        )
