"""Every command and block of code on a page of the manual or in README is what it claims to be."""

import json
import re
import tomllib

import pytest
import yaml
from pages import BLOCKS, PAGES, ROOT, commands
from typer.main import get_command

from maspo.cli.app import app
from maspo.recipes import Recipe, load_recipe
from maspo.recipes.load import shipped_recipes
from maspo.recipes.reference import recipe_fields

SLOW = {
    "train": "test_cli.py::test_a_run_leaves_everything_it_promises",
    "resume": "test_cli.py::test_a_finished_run_is_extended",
    "export": "test_verl_run.py",
    "eval": "test_eval_command.py::test_killed_at_any_moment_it_continues_without_loss_or_double",
    "score": "test_eval_command.py",
    "report": "test_scores_report.py",
    "replay": "test_replay.py",
    "compare": "test_race_command.py",
    "ablate": "test_race_command.py",
    "explore": "test_explore.py",
    "data": "test_overlap.py",
}
"""Commands that are parsed here and run by another test, for what they take or need."""

NEEDS = {"gsm8k", "dapo", "smollm2", "MODEL"}
"""Parts of arguments that a hub or a package would have to provide."""

maspo = pytest.mark.parametrize("one", commands("maspo"), ids=lambda one: one.line)


def leaf(words):
    """Find the command that `words` name; return it, its context and the words that are left."""
    found = get_command(app)
    context = found.make_context("maspo", [], resilient_parsing=True)
    while hasattr(found, "resolve_command") and words and not words[0].startswith("-"):
        name, found, words = found.resolve_command(context, words)
        context = found.make_context(name, [], parent=context, resilient_parsing=True)
    return found, context, words


@maspo
def test_a_command_has_these_arguments_and_options(one):
    found, context, words = leaf(one.words[1:])
    values, rest, order = found.make_parser(context).parse_args(args=list(words))
    assert not rest, f"{rest} are no arguments of it"
    if one.whole and not values.get("help"):
        given = {parameter.name for parameter in order}
        missing = [p.name for p in found.params if p.required and p.name not in given]
        assert not missing


@maspo
def test_what_a_command_sets_is_taken(one):
    sets = re.findall(r"--set ([\w.]+=\S+)", one.line)
    sets = [one for one in sets if not re.search(r"=[A-Z]+$", one)]
    words = one.words
    named = words[2] if len(words) > 2 and words[2] in shipped_recipes() else "quickstart"
    load_recipe(named, sets)


def cheap():
    """List the commands that are run here."""
    for one in commands("maspo"):
        words = one.words[1:]
        asks = "--help" in words or "-h" in words
        if one.whole and (asks or words[0] not in SLOW) and not any(n in one.line for n in NEEDS):
            yield one


@pytest.fixture
def folder(tmp_path):
    """Make a folder with the files that the pages speak of."""
    rows = [{"problem": f"{n}+{n}", "answer": str(2 * n)} for n in range(10, 40)]
    for name, part in {"train.jsonl": rows[:20], "held-out.jsonl": rows[20:]}.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in part))
    (tmp_path / "my.yaml").write_text(
        "data: {source: train.jsonl}\nevaluation: {data: {source: held-out.jsonl}}\n"
    )
    return tmp_path


@pytest.mark.parametrize("one", list(cheap()), ids=lambda one: one.line)
def test_a_cheap_command_runs(one, folder, command):
    if "recipes new" in one.line:
        (folder / "my.yaml").unlink()
    done = command(*one.words[1:], folder=folder)
    assert done.returncode == 0, done.stderr


def test_the_tests_that_run_the_others_exist():
    for place in SLOW.values():
        file, _, name = place.partition("::")
        text = (ROOT / "tests" / file).read_text("utf-8")
        assert f"def {name}(" in text if name else "def test_" in text


@pytest.mark.parametrize("one", commands("python", "pytest", "bash"), ids=lambda one: one.line)
def test_files_that_a_command_runs_have_its_options(one):
    words = one.words[1:]
    files = [word for word in words if re.fullmatch(r"[\w/]+\.(py|sh)", word)]
    assert all((ROOT / file).is_file() for file in files)
    if one.words[0] == "python" and files:
        text = (ROOT / files[0]).read_text("utf-8")
        options = [word for word in words if word.startswith("--")]
        assert [option for option in options if f'"{option}"' not in text] == []


@pytest.mark.parametrize("one", commands("pip"), ids=lambda one: one.line)
def test_what_is_installed_exists(one):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for extra in re.findall(r"(?:\.|maspo|\.whl)\[([\w-]+)\]", one.line):
        assert extra in project["optional-dependencies"]
    for file in re.findall(r"-c (\S+)", one.line):
        assert (ROOT / file).is_file()


def blocks(*languages):
    """Mark a test to go over the blocks of these languages."""
    found = [one for one in BLOCKS if one.language in languages]
    return pytest.mark.parametrize("one", found, ids=lambda one: f"{one.page}: {one.text[:40]!r}")


def test_every_block_is_of_a_kind_that_is_tested():
    kinds = {"sh", "python", "py", "yaml", "json", "toml", "text"}
    assert {(one.page, one.language) for one in BLOCKS if one.language not in kinds} == set()


@blocks("python")
def test_a_python_block_runs(one, tmp_path, monkeypatch, capsys):
    if one.page == "README.md":
        pytest.skip("test_readme.py runs it in a process of its own")
    monkeypatch.chdir(tmp_path)
    exec(compile(one.text, one.page, "exec"), {"__name__": "__page__"})


@blocks("py")
def test_a_block_that_needs_another_trainer_compiles(one):
    assert one.page.startswith("doors/"), "elsewhere a block is run: call it python"
    compile(one.text, one.page, "exec", flags=8192)  # await at the top, as in a notebook


@blocks("yaml")
def test_a_yaml_block_is_a_recipe_or_of_another_trainer(one):
    content = yaml.safe_load(one.text)
    if one.page.startswith("doors/"):
        assert "maspo" in one.text
    else:
        Recipe.model_validate(content)


@blocks("json", "toml")
def test_other_blocks_can_be_read(one):
    read = json.loads if one.language == "json" else tomllib.loads
    assert read(one.text)


def test_keys_of_a_recipe_that_a_page_names_exist():
    known = {field.key for field in recipe_fields()}
    known |= {key.rpartition(".")[0] for key in known}
    sections = "model|data|rollout|training|evaluation|reward"
    for page, content in PAGES.items():
        if not page.startswith(
            ("doors/", "from-one-machine")
        ):  # other trainers have such names too
            named = re.findall(rf"`((?:{sections})\.[a-z_.]+)\s*(?:[=:][^`]*)?`", content)
            assert [key for key in named if key not in known] == [], page


def test_tests_that_a_page_names_exist():
    text = "".join(file.read_text("utf-8") for file in (ROOT / "tests").glob("test_*.py"))
    for page, content in PAGES.items():
        for name in re.findall(r"\b(test_\w+_\w+_\w+)`", content):
            assert f"def {name}(" in text or (ROOT / "tests" / f"{name}.py").exists(), page
