"""One door to every data set."""

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from maspo.data import sources
from maspo.data.arithmetic import arithmetic_problems
from maspo.data.columns import apply_template, check_template, problems_from_rows
from maspo.data.problems import Problem
from maspo.data.programs import program_problems
from maspo.data.questions import question_problems
from maspo.errors import InputError

_GYM = "reasoning-gym:"
_GENERATORS = {
    "arithmetic": arithmetic_problems, "questions": question_problems, "programs": program_problems,
}  # fmt: skip


def load_problems(
    source: str,
    *,
    split: str | None = None,
    limit: int | None = None,
    seed: int | None = None,
    template: str = "{problem}",
    columns: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    whole: bool = False,
) -> list[Problem]:
    r"""Load checkable problems from a generator, a local file or the hub.

    Args:
        source: `arithmetic`, `questions`, `programs`, `reasoning-gym:<task>`, a path ending in .jsonl,
            .json or .parquet (a folder of parquet files too), or a hub data set `owner/name` or
            `owner/name:config`.
        split: "train" (also what None means) or another split of the source; a file has none.
        limit: the most problems to take; for the generators the number to make, and required.
        seed: shuffles a file or hub data set before `limit` is applied (None keeps its order);
            for the generators, which problems are drawn (None is 0).
        template: what is asked; `{problem}` stands for the problem's text. In a prompt of several
            messages the last user message is the problem's text.
        columns: `{"prompt": ..., "answer": ..., "id": ...}`, each optional, for other names.
        options: settings of a reasoning-gym task, such as `{"max_terms": 3}`.
        whole: keep the columns in `Problem.columns`, but the prompt and what JSON cannot hold; a row then
            needs no answer, or may have any JSON for one. For the user's own reward functions.

    The prompt is the first of the columns `prompt`, `problem`, `question` that exists, a text or a
    list of messages. The answer is the first of `answer`, `ground_truth`, `reward_model` (its
    `ground_truth`, verl's schema, as JSON text too), `solution`; a row's `answer_mv` takes the place
    of its `answer`. Of a text the gold is the content of the last `\boxed{...}`; without a box what
    follows the `####` that begins the last line, without thousands separators; without any `####`
    all of it. Numbers of any size become text (27.0 is "27"). With one of the columns `relative`,
    `absolute` (or `error`) and `unit` it becomes an object, the fields of `maspo.rewards.Gold`. Where a
    row has the columns of another kind of reward, such as the `tests` of code, these are its gold; and
    an answer that is an object of such a kind stays one. The id is the column `id` or `unique_id`,
    else the source's name and the row's number, which counts from 0.

    Raises InputError, in one sentence, for a missing column, an empty data set, an answer that is
    no text or number (naming the row), an id given twice, an unknown source, split or task.
    """
    check_template(template)
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1, not {limit}")
    if options and not source.startswith(_GYM):
        raise InputError(f"options have no effect on {source}: they are of reasoning-gym's tasks")
    if source in _GENERATORS:
        _check_no_columns(source, columns)
        draw, count = _GENERATORS[source], _count(source, limit)
        problems = draw(count, seed=seed or 0, split=split or "train")
        return [with_template(problem, template) for problem in problems]
    if source.startswith(_GYM):
        _check_no_columns(source, columns)
        task, count = source.removeprefix(_GYM), _count(source, limit)
        rows = sources.read_reasoning_gym(
            task, count=count, seed=seed or 0, split=split or "train", options=options or {}
        )
        name = f"{task}-{split or 'train'}-{seed or 0}"
        return problems_from_rows(rows, name=name, template=template, columns=None, whole=whole)
    name, rows = _read(source, split)
    problems = problems_from_rows(rows, name=name, template=template, columns=columns, whole=whole)
    if seed is not None:
        random.Random(seed).shuffle(problems)
    return problems[:limit]


def _read(source: str, split: str | None) -> tuple[str, list[dict]]:
    if sources.is_file(source):
        if split is not None:
            raise InputError(f"split {split!r} has no effect: the file {source} has no splits")
        return Path(source).stem, sources.read_file(Path(source))
    if "/" not in source or Path(source).is_file():
        raise InputError(
            f"unknown source {source!r}; give {', '.join(_GENERATORS)}, reasoning-gym:<task>, "
            "a .jsonl, .json or .parquet file, or a hub data set owner/name"
        )
    return source, sources.read_hub(source, split or "train")


def _count(source: str, limit: int | None) -> int:
    if limit is None:
        raise InputError(f"{source} has no end: say by limit how many problems to make")
    return limit


def _check_no_columns(source: str, columns: Mapping[str, str] | None) -> None:
    if columns:
        raise InputError(f"columns have no effect on {source}")


def with_template(problem: Problem, template: str) -> Problem:
    """Put the text of a problem, its last message, into a template."""
    *before, last = problem.prompt
    text = apply_template(template, last["content"])
    return replace(problem, prompt=(*before, {**last, "content": text}))
