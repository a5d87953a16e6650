"""Which problems are trained on, or judged on."""

from __future__ import annotations

from typing import Any

from maspo.data import Problem, load_problems
from maspo.data.sources import is_file
from maspo.recipes.sections.base import Count, Section

ARITHMETIC = "arithmetic"
"""The built-in generator, the source of a recipe that names none."""


class Data(Section):
    """Which problems; see `maspo.data.load_problems`."""

    source: str = ARITHMETIC
    """`arithmetic`, `questions`, `programs`, `reasoning-gym:<task>`, a .jsonl or .parquet file, a hub id."""
    split: str | None = None
    """Of a data set on the hub, or of a generator; null: `train`."""
    limit: Count | None = None
    """How many problems are taken, or made by a generator."""
    seed: int | None = None
    """Shuffles before `limit`; for a generator, which problems it draws."""
    template: str = "{problem}"
    """What the user says; `{problem}` is replaced."""
    columns: dict[str, str] | None = None
    """Names of the columns `prompt`, `answer` and `id`, where they are not found by themselves."""
    options: dict[str, Any] = {}
    """Settings of a reasoning-gym task, by their names there."""

    def load(self, *, whole: bool = False) -> list[Problem]:
        """Load them, whatever the length of their prompts; InputError where that fails.

        `whole` keeps all columns, as `load_problems` says.
        """
        asked = {name: getattr(self, name) for name in Data.model_fields}
        return load_problems(**asked, whole=whole)

    def is_written(self) -> bool:
        """Whether they are read from a file or the hub; else a generator makes them."""
        return is_file(self.source) or "/" in self.source


class TrainingData(Data):
    """Which problems are trained on."""

    max_prompt_tokens: Count | None = None
    """Problems with a longer prompt are left out."""
