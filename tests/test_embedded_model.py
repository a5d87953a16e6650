"""The embedded model is a small, ordinary Hugging Face folder that fits the arithmetic task."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import maspo
from maspo.data.arithmetic import arithmetic_problems, worked_solution

FOLDER = Path(maspo.__file__).parent / "models" / "embedded"


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(FOLDER)


def test_the_folder_is_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 5_000_000


def test_shape(model, tokenizer) -> None:
    config = model.config
    assert config.hidden_size // config.num_attention_heads == 64
    assert config.vocab_size == len(tokenizer)
    assert model.dtype == torch.float32
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        token = getattr(tokenizer, name)
        assert token == getattr(config, name) == getattr(model.generation_config, name)
    assert len({tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}) == 3


def test_chat_template_round_trip(tokenizer) -> None:
    question = [{"role": "user", "content": "12+34"}]
    prompt = "<|begin|><|user|>12+34<|end|><|assistant|>"
    given = tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
    assert given == prompt
    ids = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=True)
    assert tokenizer.decode(ids["input_ids"]) == prompt
    assert len(ids["input_ids"]) == 4 + len("12+34")
    answered = [*question, {"role": "assistant", "content": "46"}]
    assert tokenizer.apply_chat_template(answered, tokenize=False) == prompt + "46<|end|>"


def test_worked_solutions_round_trip(tokenizer) -> None:
    for problem in arithmetic_problems(100, seed=1, split="test"):
        solution = worked_solution(problem)
        ids = tokenizer(solution + tokenizer.eos_token)["input_ids"]
        assert ids[-1] == tokenizer.eos_token_id
        assert tokenizer.eos_token_id not in ids[:-1]
        assert tokenizer.decode(ids[:-1]) == solution
        assert tokenizer.decode(ids, skip_special_tokens=True) == solution
        assert len(ids) <= 48


@pytest.mark.parametrize(
    "text", ["", "  two  spaces\n\ttab", "Größe → 37 ½ 漢字 🙂", "\\boxed{\\frac{1}{2}}"]
)
def test_any_nfc_text_round_trips(tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_it_knows_worked_solutions_better_than_wrong_ones(model, tokenizer) -> None:
    def loss(text: str) -> float:
        prompt = "<|begin|><|user|>48+275<|end|><|assistant|>"
        ids = torch.tensor([tokenizer(prompt + text + "<|end|>")["input_ids"]])
        labels = ids.clone()
        labels[:, : len(tokenizer(prompt)["input_ids"])] = -100
        with torch.no_grad():
            return model(input_ids=ids, labels=labels).loss.item()

    right = "8+5=13\n4+7+1=12\n2+1=3\n\\boxed{323}"
    assert loss(right) < loss(right.replace("8+5=13", "8+5=14"))
    assert loss(right) < loss(right.replace("{323}", "{423}"))
