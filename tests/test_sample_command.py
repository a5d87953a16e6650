"""`maspo sample`: the prompt as the model gets it, and what transformers alone would say."""

import json

import pytest
import torch
from typer.testing import CliRunner

from maspo.cli.app import app
from maspo.errors import InputError
from maspo.models import load_model


def run(*words):
    return CliRunner().invoke(app, ["sample", *map(str, words)], catch_exceptions=False)


def test_it_says_what_the_model_says_greedily():
    model, tokenizer = load_model("embedded")
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "12+30"}],
        add_generation_prompt=True, return_tensors="pt", return_dict=True,
    )["input_ids"]  # fmt: skip
    with torch.no_grad():
        expected = model.generate(ids, do_sample=False, max_new_tokens=24)[0, ids.shape[1] :]
    done = run("embedded", "12+30", "--temperature", 0, "--max-tokens", 24, "--json")
    found = json.loads(done.stdout)
    assert found["prompt"] == tokenizer.decode(ids[0])
    [one] = found["samples"]
    assert one["text"] == tokenizer.decode(expected, skip_special_tokens=True)
    assert one["tokens"] == len(expected) and one["text"] in done.stderr


def test_several_samples_are_drawn_and_cut_ones_are_marked():
    shown = run("embedded", "12+30", "--samples", 3, "--max-tokens", 2).stdout
    assert shown.count("(2 tokens, cut off)") == 3
    again = run("embedded", "12+30", "--samples", 3, "--max-tokens", 2).stdout
    assert shown == again


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("embedded", " "), "the prompt is empty"),
        (("./nowhere", "1+1"), "unknown model './nowhere'"),
        (("embedded", "1+1", "--samples", 0), "samples must be at least 1"),
        (("embedded", "1+1", "--max-tokens", 10**6), "--max-tokens"),
        (("embedded", "1+1", "--temperature", -1), "temperature must not be negative"),
    ],
)
def test_bad_input_gets_one_sentence(words, said):
    with pytest.raises(InputError, match=said):
        run(*words)
