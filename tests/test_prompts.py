"""Prompts: the same ids wherever a problem is asked, or one sentence before anything runs."""

import json

import pytest
from architectures import CONTEXT, make, save
from rich.console import Console
from transformers import AutoTokenizer

from maspo.cli.app import app
from maspo.data import Problem
from maspo.engines.trl import group_decoding
from maspo.engines.trl.engine import ENGINE
from maspo.errors import InputError
from maspo.lab.checks import answerable
from maspo.lab.console import Screen
from maspo.lab.run.folder import RunFolder
from maspo.lab.run.run import run_recipe
from maspo.models import EMBEDDED, load_model
from maspo.models.load import ModelLimits
from maspo.recipes.schema import Recipe
from maspo.sampling import with_transformers
from maspo.sampling.text import check_room, check_template_variables, prompt_tokens

# One update a rollout is enough to see the prompts.
pytestmark = pytest.mark.filterwarnings("ignore:with 1 update per rollout every ratio is 1")

QUESTIONS = ["1+2", "30+4", "5+600", "7+8"]
QUIET = Screen(Console(quiet=True))


def thinking(folder):
    """Write a model whose template begins the answer by whether `enable_thinking` is false."""
    save("qwen2", folder)
    file = folder / "chat_template.jinja"
    mark = "{%- if enable_thinking is defined and not enable_thinking -%}none{%- endif -%}"
    file.write_text(file.read_text("utf-8") + mark, "utf-8")
    return str(folder)


def recipe(folder, **model):
    rows = [{"id": q, "problem": q, "answer": "1"} for q in QUESTIONS]
    for name in ("train", "test"):
        text = "".join(json.dumps(row | {"id": name + row["id"]}) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, "utf-8")
    code = "def nothing(completions, **_):\n    return [0.0 for _ in completions]\n"
    (folder / "nothing.py").write_text(code, "utf-8")
    return Recipe.model_validate(
        {
            "model": {"source": thinking(folder / "model"), **model},
            "data": {"source": str(folder / "train.jsonl")},
            "rollout": {"prompts": 4, "samples": 2, "max_completion_tokens": 4},
            "training": {"rollouts": 1, "updates_per_rollout": 1, "micro_batch": 8, "save_every": None},
            "reward": {"functions": [{"source": f"{folder / 'nothing.py'}:nothing"}]},
            "evaluation": {"data": {"source": str(folder / "test.jsonl")}, "samples": 1},
        }
    )  # fmt: skip


@pytest.fixture
def asked(monkeypatch):
    """Hear every prompt that a model is asked, by who asks."""
    heard = {"training": [], "evaluation": []}

    def listen(module, name, who):
        real = getattr(module, name)

        def listening(model, prompts, *rest, **kwargs):
            heard[who] += [tuple(prompt) for prompt in prompts]
            return real(model, prompts, *rest, **kwargs)

        monkeypatch.setattr(module, name, listening)

    listen(group_decoding, "decode_rows", "training")
    listen(with_transformers, "complete", "evaluation")
    return heard


@pytest.mark.parametrize("thinks", [True, False])
def test_a_problem_is_asked_in_the_same_tokens_everywhere(thinks, asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    variables = None if thinks else {"enable_thinking": False}
    run = recipe(tmp_path, chat_template_kwargs=variables)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    written = [
        f"<|begin|><|user|>{q}<|end|><|assistant|>" + ("" if thinks else "none") for q in QUESTIONS
    ]
    expected = {tuple(tokenizer.encode(text, add_special_tokens=False)) for text in written}
    run_recipe(run, RunFolder(tmp_path / "run"), QUIET, ENGINE)
    assert set(asked["training"]) == expected
    assert set(asked["evaluation"]) == expected and len(asked["evaluation"]) == 8, (
        "before and after"
    )

    asked["evaluation"].clear()
    words = [] if thinks else ["--chat-template-kwargs", json.dumps(variables)]
    command = [
        "eval",
        str(tmp_path / "model"),
        "--benchmarks",
        "test.jsonl",
        "--template",
        "{problem}",
    ]
    app([*command, "--samples", "1", "--max-tokens", "2", *words], standalone_mode=False)
    assert set(asked["evaluation"]) == expected

    model, tokenizer = load_model(run.model.source)
    training, held_out = run.problems()
    for limit in sorted(map(len, expected)):
        data = run.data.model_copy(update={"max_prompt_tokens": limit})
        fewer = run.rollout.model_copy(update={"prompts": 1})
        limited = run.model_copy(update={"data": data, "rollout": fewer})
        kept = answerable(
            limited, training, held_out, ModelLimits.of(model.config), tokenizer, QUIET
        )
        assert len(kept) == sum(len(ids) <= limit for ids in expected)


def problem(*turns):
    return Problem(id="p7", prompt=tuple({"role": r, "content": c} for r, c in turns), answer="1")


@pytest.fixture(scope="module")
def tokenizer():
    return make("qwen2")[1]


def test_a_prompt_that_ends_with_the_assistant_is_refused(tokenizer):
    with pytest.raises(InputError, match="'p7' ends with a turn of the assistant"):
        prompt_tokens(tokenizer, problem(("user", "1+1"), ("assistant", "It is")))


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('no system role') }}",
        "{{ messages[0].nothing.there }}",
        "{{ messages[0]['content'] + 1 }}",
        "{% for %}",
    ],
)
def test_a_template_that_raises_is_one_sentence_that_names_the_problem(template):
    _, broken = make("qwen2")
    broken.chat_template = template
    with pytest.raises(InputError, match="cannot write the prompt of problem 'p7'") as caught:
        prompt_tokens(broken, problem(("user", "1+1")))
    assert "\n" not in str(caught.value)


def test_variables_that_would_do_nothing_or_harm_are_refused(tokenizer, tmp_path):
    with pytest.raises(InputError, match="chat template has no enable_thinking"):
        check_template_variables(tokenizer, {"enable_thinking": False})
    for owned in ("add_generation_prompt", "tokenize", "tools", "messages"):
        with pytest.raises(InputError, match=f"{owned} is not for a recipe to set"):
            check_template_variables(tokenizer, {owned: True})


def test_trls_name_of_the_variables_is_taken_as_the_recipes_own():
    given = {"chat_template_kwargs": {"enable_thinking": False}, "logging_steps": 2}
    moved = Recipe.model_validate({"trl": given, "model": {"source": "embedded"}})
    assert moved.model.chat_template_kwargs == {"enable_thinking": False}
    assert moved.trl == {"logging_steps": 2}
    twice = {"trl": given, "model": {"chat_template_kwargs": {"enable_thinking": True}}}
    with pytest.raises(ValueError, match="belong under model alone"):
        Recipe.model_validate(twice)


@pytest.mark.parametrize("name", ["qwen2", "gpt2", "gpt_neo", "opt", "bloom", "mamba", "gemma3"])
def test_the_limits_of_a_model_are_read_from_its_configuration(name):
    model, tokenizer = make(name)
    limits = ModelLimits.of(model.config)
    assert limits.vocabulary == len(tokenizer) + 4
    assert limits.context == (None if name in ("bloom", "mamba") else CONTEXT)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([[1] * 5, [1] * 7], None),
        ([[1] * 5, [1] * 8], r"10 tokens leaves 2 .* prompt of 8: lower rollout.x from 3"),
        ([[1] * 10], "leaves 0 beside the longest prompt of 10: leave out such prompts"),
        ([[1], [2, 20]], "token 20, but the model has embeddings for 20"),
        ([[1], [2, 19]], None),
    ],
)
def test_prompts_without_room_are_refused(prompts, message):
    limits = ModelLimits(context=10, vocabulary=20)
    if message is None:
        check_room(prompts, limits, 3, "rollout.x")
    else:
        with pytest.raises(InputError, match=message):
            check_room(prompts, limits, 3, "rollout.x")
    check_room(prompts, ModelLimits(context=None, vocabulary=None), 3, "rollout.x")
