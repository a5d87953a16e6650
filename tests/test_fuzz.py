"""Whatever is read from outside is refused with a sentence, never with a traceback of ours."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maspo.data import load_problems
from maspo.errors import InputError
from maspo.evaluation.samples import read_samples
from maspo.recipes import dump_recipe, load_recipe, parse_recipe
from maspo.recipes.schema import Recipe
from maspo.rewards.math_reward import MathSpec

FUZZ = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
"""With pytest's --hypothesis-seed the runs are those of that seed."""

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["maspo", "grpo", "embedded", "1e400", "../../x", "[/x]", "\x00"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def fields(content, prefix=()):
    """List the paths of all fields of a recipe, sections included."""
    for key, value in content.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from fields(value, (*prefix, key))


DEFAULTS = parse_recipe({"model": {"lora": {}}}).model_dump()
OBJECTIVE = ("objective", "name")
FIELDS = sorted({*fields(DEFAULTS), OBJECTIVE, ("objective", "alpha"), ("trl", "beta")})


def with_value(path, value):
    content = json.loads(json.dumps(DEFAULTS))
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return content


def accepted_or_refused(read):
    """Run `read`: its result, or None where it refused the input with a readable sentence."""
    try:
        return read()
    except InputError as error:
        assert str(error) and "Traceback" not in str(error)
        return None


@pytest.mark.parametrize("path", FIELDS, ids=".".join)
@settings(FUZZ, max_examples=60)
@given(value=VALUES)
def test_every_field_of_a_recipe_takes_or_refuses_any_value(path, value):
    recipe = accepted_or_refused(lambda: parse_recipe(with_value(path, value)))
    if recipe is not None:
        assert isinstance(recipe, Recipe)
        recipe.make_objective()
        again = yaml.safe_load(dump_recipe(recipe))
        assert parse_recipe(again).model_dump_json() == recipe.model_dump_json()


@FUZZ
@given(text=st.text(max_size=200) | st.binary(max_size=200) | VALUES.map(yaml.safe_dump))
def test_any_recipe_file_is_taken_or_refused(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    accepted_or_refused(lambda: load_recipe(str(path)))


@FUZZ
@given(item=st.text(max_size=40) | st.tuples(st.sampled_from(FIELDS), st.text(max_size=12)))
def test_any_setting_is_taken_or_refused(item):
    text = item if isinstance(item, str) else ".".join(item[0]) + "=" + item[1]
    accepted_or_refused(lambda: load_recipe("quickstart", [text]))


ROWS = st.fixed_dictionaries(
    {},
    optional={
        key: VALUES | st.text(max_size=20)
        for key in ("problem", "prompt", "answer", "solution", "id", "unit", "relative")
    },
)


@FUZZ
@given(rows=st.lists(ROWS, max_size=4))
def test_any_rows_of_a_data_set_are_taken_or_refused(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    problems = accepted_or_refused(lambda: load_problems(str(path)))
    for problem in problems or ():
        assert problem.prompt
        assert MathSpec.objection(problem.answer) is None


@FUZZ
@given(content=st.binary(max_size=120))
def test_any_bytes_as_a_data_set_are_taken_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes.jsonl"
    path.write_bytes(content)
    accepted_or_refused(lambda: load_problems(str(path)))


GOOD = {
    "benchmark": "b", "problem_id": "p", "index": 0, "seed": 1, "text": "t", "tokens": 1,
    "finish": "stop",
}  # fmt: skip
LINES = st.one_of(
    st.binary(max_size=60),
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.tuples(st.sampled_from(sorted(GOOD)), VALUES).map(
        lambda change: json.dumps(GOOD | {change[0]: change[1]}).encode()
    ),
)


@FUZZ
@given(lines=st.lists(LINES, max_size=4), end=st.booleans())
def test_any_samples_file_is_taken_or_refused(tmp_path, lines, end):
    path = tmp_path / "samples.jsonl"
    path.write_bytes(b"\n".join(lines) + (b"\n" if end and lines else b""))
    found = accepted_or_refused(lambda: read_samples(path, {"b": {"p"}}, 2))
    for (problem, index), sample in (found or {"b": {}})["b"].items():
        assert problem == "p" and index in (0, 1) and isinstance(sample.text, str)


@FUZZ
@given(name=st.text(max_size=12) | st.sampled_from(["../x", "/etc/x", "..", "a/../../b", "."]))
def test_the_name_of_a_recipe_cannot_leave_the_folder_of_runs(name):
    recipe = accepted_or_refused(lambda: parse_recipe({"name": name}))
    if recipe is not None:
        place = Path("runs") / f"{recipe.name}-20260101-000000"
        assert place.parent == Path("runs") and ".." not in place.parts
