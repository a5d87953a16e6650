r"""From the rows of some data set to `Problem`s: which columns, which text is the gold answer."""

import difflib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from maspo.data.golds import gold_of, ground_truth
from maspo.data.problems import Problem
from maspo.errors import InputError, unknown
from maspo.rewards.registry import reads, row_gold

Row = Mapping[str, Any]

KNOWN_COLUMNS = {
    "id": ("id", "unique_id"),
    "prompt": ("prompt", "problem", "question"),
    "answer": ("answer", "ground_truth", "reward_model", "solution"),
}
RULE_COLUMNS = {
    "relative": ("relative",),
    "absolute": ("absolute", "error"),  # OlympiadBench calls it error
    "unit": ("unit",),
}
_PREFERRED_ANSWER = "answer_mv"  # a gold rewritten so that math-verify reads it as meant
_PLACEHOLDER = "{problem}"


def problems_from_rows(
    rows: Sequence[Row],
    *,
    name: str,
    template: str,
    columns: Mapping[str, str] | None,
    whole: bool = False,
) -> list[Problem]:
    """Normalise rows; `load_problems` documents the rules and the errors."""
    if not rows:
        raise InputError(f"{name} holds no problems")
    found = list(dict.fromkeys(key for row in rows for key in row))
    golds = [None if "answer" in (columns or {}) else row_gold(row) for row in rows]
    free = {"answer"} if whole or None not in golds else set()
    chosen = choose_columns(found, columns or {}, name, free)
    problems = [
        Problem(
            id=_identifier(row, chosen["id"], f"{name}-{number}"),
            prompt=_prompt(row.get(chosen["prompt"]), template, f"{name}, row {number}"),
            answer=_gold(row, gold, chosen["answer"], f"{name}, row {number}", whole),
            columns=_rest(row, chosen["prompt"]) if whole else {},
        )
        for number, (row, gold) in enumerate(zip(rows, golds, strict=True))
    ]
    _check_unique([problem.id for problem in problems], name)
    return problems


def choose_columns(
    found: Sequence[str], asked: Mapping[str, str], name: str, free: Collection[str] = ()
) -> dict[str, str]:
    """Name the column of each role; `id` and the roles in `free` may be without one (then it is '')."""
    for role in asked:
        if role not in KNOWN_COLUMNS:
            raise unknown("column role", role, KNOWN_COLUMNS)
    chosen = {}
    for role, names in KNOWN_COLUMNS.items():
        wanted = (asked[role],) if role in asked else names
        chosen[role] = next((column for column in wanted if column in found), "")
        if not chosen[role] and (role in asked or role not in {"id", *free}):
            raise _missing_column(role, wanted, found, name)
    return chosen


def apply_template(template: str, text: str) -> str:
    """Put the problem's text into the template; braces of LaTeX are left alone."""
    return template.replace(_PLACEHOLDER, text)


def without_template(template: str, text: str) -> str:
    """Take the problem's text out of what `apply_template` made of it."""
    before, _, behind = template.partition(_PLACEHOLDER)
    return text.removeprefix(before).removesuffix(behind)


def check_template(template: str) -> None:
    """Raise InputError for a template which the problem's text cannot enter exactly once."""
    if template.count(_PLACEHOLDER) != 1:
        raise InputError(f"the template must hold {_PLACEHOLDER} once: {template!r}")


def _missing_column(
    role: str, wanted: Sequence[str], found: Sequence[str], name: str
) -> InputError:
    near = [match for column in wanted for match in difflib.get_close_matches(column, found, n=1)]
    hint = f", the nearest is {near[0]!r}" if near else ""
    return InputError(
        f"{name} has no column {' or '.join(map(repr, wanted))} for the {role}; it has "
        f"{', '.join(map(repr, found))}{hint}; name yours: data.columns={{{role}: NAME}} in a "
        f"recipe, --columns {role}=NAME for maspo eval"
    )


def _identifier(row: Row, column: str, default: str) -> str:
    value = row.get(column) if column else None
    return default if value is None else str(value)


def _prompt(value: Any, template: str, where: str) -> tuple[dict[str, str], ...]:
    if isinstance(value, str) and value.strip():
        return (
            {
                "role": "user",
                "content": apply_template(template, _encodable(value, "prompt", where)),
            },
        )
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise InputError(
            f"{where}: the prompt must be a text or a list of messages, not {_shown(value)}"
        )
    messages = [_message(message, where) for message in value]
    asked = [message for message in messages if message["role"] == "user"]
    if not asked:
        raise InputError(f"{where}: no message of the prompt has the role 'user'")
    asked[-1]["content"] = apply_template(template, asked[-1]["content"])
    return tuple(messages)


def _message(message: Any, where: str) -> dict[str, str]:
    match message:
        case {"role": str(role), "content": str(content)}:
            return {"role": role, "content": _encodable(content, "prompt", where)}
    raise InputError(
        f"{where}: a message needs 'role' and 'content' as texts, not {_shown(message)}"
    )


def _gold(row: Row, known: Any, column: str, where: str, whole: bool) -> Any:
    if known is not None or not column:
        return known
    try:
        return _answer(row, column, where)
    except InputError:
        if whole and _is_json(row.get(column)):
            return row.get(column)
        raise


def _answer(row: Row, column: str, where: str) -> Any:
    value = row.get(column)
    if isinstance(value, Mapping) and reads(given := _present(value)):
        return given
    if column == "answer" and row.get(_PREFERRED_ANSWER) is not None:
        value = row[_PREFERRED_ANSWER]
    text = isinstance(value, str)
    no_ground_truth = column == "reward_model" and text and ground_truth(value) is value
    gold = None if no_ground_truth else gold_of(value)
    if gold:
        rules = {rule: _tolerance(row, rule, where) for rule in ("relative", "absolute")}
        return with_rules(_encodable(gold, "answer", where), **rules, unit=_unit(row, where))
    if column == "reward_model" and text:
        raise InputError(f"{where}: the reward_model must hold a ground_truth, not {_shown(value)}")
    if text and value.strip():
        raise InputError(
            f"{where}: no answer can be told from {_shown(value)}; it must stand in \\boxed{{...}}, "
            "behind #### on the last line, or alone"
        )
    raise InputError(f"{where}: the answer must be a text or a number, not {_shown(value)}")


def with_rules(answer: Any, **rules: float | str | None) -> Any:
    """Add the rules of `maspo.rewards.Gold` that are given to a mathematical answer."""
    fields = answer if isinstance(answer, Mapping) else {"answer": answer}
    found = _present({**fields, **rules})
    return answer if set(found) == {"answer"} else found


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is None, as the columns of a parquet file are in the rows without them."""
    return {name: value for name, value in fields.items() if value is not None}


def _rest(row: Row, prompt: str) -> dict[str, Any]:
    """Take the columns beside the prompt that JSON can hold."""
    return {name: row[name] for name in row if name != prompt and _is_json(row[name])}


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _encodable(text: str, what: str, where: str) -> str:
    """Return the text; InputError where a half of a surrogate pair is in it, which no tokenizer reads."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise InputError(f"{where}: the {what} holds {half!r}, half of a character") from None
    return text


def _shown(value: Any) -> str:
    return f"{value!r:.120}"


def _tolerance(row: Row, rule: str, where: str) -> float | None:
    column, given = _rule(row, rule)
    if given is None:
        return None
    try:
        value = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not 0 < value < math.inf:
        raise InputError(f"{where}: the {column} must be a positive number, not {_shown(given)}")
    return value


def _unit(row: Row, where: str) -> str | None:
    column, given = _rule(row, "unit")
    if given is not None and not isinstance(given, str):
        raise InputError(f"{where}: the {column} must be a text, not {_shown(given)}")
    return given


def _rule(row: Row, rule: str) -> tuple[str, Any]:
    """Find a rule's column and value; an empty text says nothing, as None does."""
    for column in RULE_COLUMNS[rule]:
        value = row.get(column)
        if value is not None and not (isinstance(value, str) and not value.strip()):
            return column, value
    return rule, None


def _check_unique(ids: Sequence[str], name: str) -> None:
    first: dict[str, int] = {}
    for number, identifier in enumerate(ids):
        if first.setdefault(identifier, number) != number:
            rows = f"{first[identifier]} and {number}"
            raise InputError(f"{name}: rows {rows} share the id {identifier!r}")
