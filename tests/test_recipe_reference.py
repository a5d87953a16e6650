"""The reference of recipes is the schema: complete, current, and a start that works."""

import json
import re

import pytest
import yaml
from typer.testing import CliRunner

from maspo.cli.app import app
from maspo.errors import InputError
from maspo.recipes import (
    Recipe,
    dump_recipe,
    json_schema,
    load_recipe,
    parse_recipe,
    recipe_fields,
    shipped_recipes,
    starter,
)
from maspo.recipes.load import NAMES_ELSEWHERE, read_content, recipe_path


def maspo(*words):
    return CliRunner().invoke(app, [*map(str, words)])


def leaves(content, prefix=""):
    """List the keys of a dumped recipe, free dictionaries whole."""
    free = {"objective", "trl", "verl", "data.options", "evaluation.data.options"}
    found = []
    for name, value in content.items():
        key = prefix + name
        nested = isinstance(value, dict) and key not in free
        found += leaves(value, f"{key}.") if nested else [key]
    return found


def test_every_key_is_listed_with_a_meaning():
    sections = {"model": {"lora": {}}, "rollout": {"correction": {}, "staleness": 1}}
    dumped = yaml.safe_load(dump_recipe(parse_recipe(sections)))
    found = {one.key: one for one in recipe_fields()}
    assert set(leaves(dumped)) == set(found) - {"model.lora", "rollout.correction", "evaluation"}
    assert all(one.meaning for one in found.values())
    assert found["training.learning_rate"].type == "number > 0"
    assert found["rollout.samples"].type == "whole number ≥ 2"
    assert (
        found["rollout.samples"].default == 8 and found["evaluation.data.split"].default == "test"
    )


def test_the_schema_knows_what_recipes_may_hold():
    shown = json_schema()
    assert shown["additionalProperties"] is False
    training = shown["$defs"]["Training"]["properties"]
    assert training["learning_rate"]["exclusiveMinimum"] == 0
    assert "no gate acts" in training["updates_per_rollout"]["description"]
    assert {"type": "string"} in shown["properties"]["objective"]["anyOf"]  # a name alone
    assert json.loads(maspo("recipes", "schema").stdout) == shown


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_starter_is_the_recipe_it_was_made_from(name, tmp_path):
    path = tmp_path / "mine.yaml"
    assert maspo("recipes", "new", path, "--like", name).exit_code == 0
    mine, base = load_recipe(str(path)), load_recipe(name)
    assert mine == base.model_copy(update={"name": "mine", "about": ""})
    assert "# Optimizer steps on each rollout" in path.read_text()


def test_the_comments_of_a_starter_are_the_defaults():
    key = re.compile(r" *[a-z_]+:( |$)")
    bare = [line.replace("# ", "", 1) for line in starter({}).splitlines()]
    content = yaml.safe_load("\n".join(line for line in bare if key.match(line)))
    content["model"]["lora"] = content["rollout"]["correction"] = None
    assert parse_recipe(content) == Recipe() and len(leaves(content)) > 60


def test_a_file_is_never_overwritten(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("seed: 5")
    for place, said in ((path, "is there already"), (tmp_path / "mine.txt", "is a .yaml file")):
        with pytest.raises(InputError, match=said):
            CliRunner().invoke(app, ["recipes", "new", str(place)], catch_exceptions=False)
    assert path.read_text() == "seed: 5"


def test_recipes_are_listed_and_shown():
    listed = maspo("recipes").stdout
    assert all(name in listed for name in shipped_recipes())
    assert maspo("recipes", "show", "quickstart").stdout == recipe_path("quickstart").read_text()
    shown = maspo("recipes", "show", "quickstart", "--full").stdout
    assert parse_recipe(yaml.safe_load(shown)) == load_recipe("quickstart")
    assert "training.learning_rate" in maspo("recipes", "fields").stdout
    rows = json.loads(maspo("recipes", "fields", "--json").stdout)
    assert [row["key"] for row in rows] == [one.key for one in recipe_fields()]


def test_names_of_other_tools_lead_to_keys():
    keys = {one.key for one in recipe_fields()}
    assert {ours for ours in NAMES_ELSEWHERE.values() if ours.partition(".")[0] != "trl"} <= keys
    assert not keys & set(NAMES_ELSEWHERE)
    assert read_content(recipe_path("quickstart"))["training"]["learning_rate"] == 1e-4
