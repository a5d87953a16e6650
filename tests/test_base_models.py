"""Models without a chat template, and adapters beside the model that they were merged into."""

import json

import pytest
import torch
from architectures import save
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from test_kl_reference import from_one_gguf_file

from maspo.cli.app import app
from maspo.data import Problem
from maspo.errors import InputError
from maspo.evaluation.folder import EvaluationFolder
from maspo.lab.forecast.look import Outlook, look_ahead
from maspo.models import load_model
from maspo.models.adapter import has_adapter, merged_with_adapter, save_adapter
from maspo.models.load import load_tokenizer
from maspo.recipes import load_recipe
from maspo.sampling.text import prompt_tokens

SAID = Problem(id="p", prompt=({"role": "user", "content": "12+3"},), answer="15")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    save("qwen2", folder)
    (folder / "chat_template.jinja").unlink()
    return folder


def test_a_base_model_is_refused_with_the_cure(base):
    with pytest.raises(
        InputError, match=r"no chat template; a recipe may set model\.chat_template"
    ):
        load_tokenizer(str(base))


def test_a_plain_prompt_is_its_text(base):
    tokenizer = load_tokenizer(str(base), "plain")
    assert prompt_tokens(tokenizer, SAID) == tokenizer("12+3").input_ids
    several = ({"role": "system", "content": "1"}, {"role": "user", "content": "2"})
    asked = prompt_tokens(tokenizer, Problem(id="p", prompt=several, answer="3"))
    assert tokenizer.decode(asked) == "1\n\n2"


def test_a_plain_prompt_begins_as_the_tokenizer_begins(base):
    from tokenizers.processors import TemplateProcessing

    tokenizer = load_tokenizer(str(base), "plain")
    tokenizer.bos_token = tokenizer.convert_ids_to_tokens(0)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{tokenizer.bos_token} $A", special_tokens=[(tokenizer.bos_token, 0)]
    )
    folder = base / "beginning"
    load_model(str(base), chat_template="plain")[0].save_pretrained(folder)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    begun = load_tokenizer(str(folder), "plain")
    assert prompt_tokens(begun, SAID) == begun("12+3").input_ids
    assert prompt_tokens(begun, SAID)[0] == 0


def test_a_template_of_a_recipe_lies_beside_it(base, tmp_path):
    (tmp_path / "mine.jinja").write_text("Q: {{ messages[-1]['content'] }} A:")
    (tmp_path / "mine.yaml").write_text(
        f"model: {{source: {base}, chat_template: mine.jinja}}\n"
        "data: {source: arithmetic, limit: 64}\nevaluation: null\nrollout: {max_completion_tokens: 9}\n"
    )
    found = Outlook(lambda line: None)
    recipe = load_recipe(str(tmp_path / "mine.yaml"))
    look_ahead(recipe, _engine(), found)
    assert found.refusals == []
    [prompt] = [line for line in found.lines if line.startswith("prompt")]
    assert prompt.split("\n")[1].strip().startswith("Q: ") and prompt.endswith(" A:")
    absent = load_recipe(str(tmp_path / "mine.yaml"), ["model.chat_template=absent.jinja"])
    found = Outlook(lambda line: None)
    look_ahead(absent, _engine(), found)
    assert "absent.jinja cannot be read" in found.refusals[0]


def test_an_adapter_of_a_gguf_model_is_saved_in_silence(tmp_path):
    """Its folder holds no configuration that PEFT could ask whether the vocabulary has grown."""
    model, _ = from_one_gguf_file(tmp_path)
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
    tuned.save_pretrained(tmp_path / "checkpoint")
    save_adapter(merged_with_adapter(tuned), "tiny.gguf", tmp_path / "adapter")
    weights = [
        load_file(tmp_path / n / "adapter_model.safetensors") for n in ("checkpoint", "adapter")
    ]
    assert weights[0].keys() == weights[1].keys() and all("lora_" in name for name in weights[0])


def test_eval_and_sample_ask_a_base_model_by_a_template(base, tmp_path, capsys):
    """With the columns of the user's own file; the folder says how the model was asked."""
    (tmp_path / "mine.jsonl").write_text('{"task": "12+3", "gold": "15"}\n')
    words = [
        "eval",
        base,
        "--benchmarks",
        tmp_path / "mine.jsonl",
        "--samples",
        1,
        "--max-tokens",
        4,
    ]
    words += ["--template", "{problem}", "--chat-template", "plain", "--out", tmp_path / "out"]
    with pytest.raises(InputError, match="--columns prompt=NAME for maspo eval"):
        app([*map(str, words)], standalone_mode=False)
    with pytest.raises(InputError, match="--columns takes prompt=NAME"):
        app([*map(str, words), "--columns", "task"], standalone_mode=False)
    assert not (tmp_path / "out").exists()
    words += ["--columns", "prompt=task,answer=gold"]
    app([*map(str, words)], standalone_mode=False)
    assert "chat template plain" in capsys.readouterr().out
    folder = EvaluationFolder(tmp_path / "out")
    assert folder.settings()["chat_template"] == "plain" and folder.is_scored
    with pytest.raises(
        InputError, match="holds an evaluation with chat_template 'plain', not None"
    ):
        folder.begin({"chat_template": None}, folder.problems())
    app(["sample", str(base), "12+3", "--chat-template", "plain", "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["prompt"] == "12+3"
    with pytest.raises(InputError, match=r"a command --chat-template, to a file"):
        app(["sample", str(base), "12+3"], standalone_mode=False)


def _engine():
    from maspo.engines.engine import engine_named

    return engine_named("trl")


def test_the_adapter_that_is_kept_makes_the_merged_model_from_its_base(tmp_path):
    model, _ = load_model("embedded")
    assert not has_adapter(model)
    tuned = get_peft_model(
        model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    torch.manual_seed(0)
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    whole = merged_with_adapter(tuned)
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_adapter(whole, "embedded", folder)
    again, _ = load_model(str(folder))
    start, _ = load_model("embedded")
    moved = 0
    for one, other, before in zip(
        whole.parameters(), again.parameters(), start.parameters(), strict=True
    ):
        torch.testing.assert_close(one, other)
        moved += not torch.equal(one, before)
    assert moved > 10
