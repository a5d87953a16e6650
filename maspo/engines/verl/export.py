"""Problems as the parquet files that verl reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maspo.data import Problem
from maspo.data.problems import check_last_turn
from maspo.engines.verl.reward import PROBLEM, problem_text
from maspo.errors import InputError
from maspo.recipes.schema import Recipe


def write_problems(
    recipe: Recipe, folder: Path, *, parts: Sequence[str] = ("train", "test"), anew: bool = False
) -> dict[Path, int]:
    """Write train.parquet and test.parquet, the recipe's problems, and give the number in each.

    Of the two only `parts`. Raises InputError, before it writes, where a rollout takes more problems than
    there are, for a prompt that ends with the assistant's turn, and, unless `anew`, where a file exists.
    """
    training, held_out = recipe.problems()
    if recipe.evaluation is None:  # verl wants a file, though nothing is evaluated
        sections, held_out = {"train": recipe.data, "test": recipe.data}, training[:1]
    else:
        sections = {"train": recipe.data, "test": recipe.evaluation.data}
    problems = {"train": training, "test": held_out}
    found, asked = len(training), recipe.rollout.prompts
    if "train" in parts and found < asked:
        raise InputError(f"a rollout takes {asked} prompts, but there are only {found} problems")
    places = {part: folder / f"{part}.parquet" for part in parts}
    for part, path in places.items():
        for problem in problems[part]:
            check_last_turn(problem)
        if path.exists() and not anew:
            raise InputError(f"{path} exists already; choose another place or remove it")
    for part, path in places.items():
        section = sections[part]
        write_parquet(verl_rows(problems[part], section.source, section.split or "train"), path)
    return {path: len(problems[part]) for part, path in places.items()}


def verl_rows(problems: Sequence[Problem], source: str, split: str) -> list[dict[str, Any]]:
    """Give one row of verl's schema for each problem.

    `source` and `split` are for its reports: `data_source` names the row of a metric, `extra_info`
    holds split, index, the problem's id and the whole problem as JSON, which our reward reads.
    """
    return [
        {
            "data_source": source,
            "prompt": list(problem.prompt),
            "reward_model": {"style": "rule", "ground_truth": _text(problem.answer)},
            "extra_info": {
                "split": split,
                "index": index,
                "id": problem.id,
                PROBLEM: problem_text(problem),
            },
        }
        for index, problem in enumerate(problems)
    ]


def _text(answer: Any) -> str:
    """Write a gold for other reward functions: a text as it is, another as JSON."""
    return answer if isinstance(answer, str) else json.dumps(answer)


def write_parquet(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write rows to a file."""
    import pyarrow as pa
    from pyarrow import parquet

    text = pa.string()
    schema = pa.schema(
        {
            "data_source": text,
            "prompt": pa.list_(pa.struct({"role": text, "content": text})),
            "reward_model": pa.struct({"style": text, "ground_truth": text}),
            "extra_info": pa.struct(
                {"split": text, "index": pa.int64(), "id": text, PROBLEM: text}
            ),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
