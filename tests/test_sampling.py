"""Sampling: what a seed fixes, what is left undisturbed, and what a sample says of itself."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import maspo
from maspo.data.arithmetic import arithmetic_problems
from maspo.errors import InputError
from maspo.evaluation.sampling import sample

FOLDER = Path(maspo.__file__).parent / "models" / "embedded"
PROBLEMS = arithmetic_problems(5, seed=11, split="test")
SETTINGS = {"samples": 3, "temperature": 1.0, "max_new_tokens": 48, "batch_size": 4, "seed": 5}


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture
def model():
    return AutoModelForCausalLM.from_pretrained(FOLDER)


def test_one_sample_a_problem_and_index_in_the_order_given(model, tokenizer) -> None:
    batches: list[int] = []
    drawn = sample(model, tokenizer, PROBLEMS, **SETTINGS, progress=batches.append)
    expected = [(problem.id, index) for problem in PROBLEMS for index in range(3)]
    assert [(s.problem_id, s.index) for s in drawn] == expected
    assert batches == [4, 4, 4, 3]


def test_the_seed_fixes_the_samples_whatever_the_order(model, tokenizer) -> None:
    first = sample(model, tokenizer, PROBLEMS, **SETTINGS)
    torch.manual_seed(123)
    again = sample(model, tokenizer, PROBLEMS[::-1], **SETTINGS)
    assert {(s.problem_id, s.index): s for s in again} == {
        (s.problem_id, s.index): s for s in first
    }
    assert sample(model, tokenizer, PROBLEMS, **{**SETTINGS, "seed": 6}) != first
    assert len({s.text for s in first}) > len(PROBLEMS)


def test_the_caller_is_left_undisturbed(model, tokenizer) -> None:
    model.train()
    torch.manual_seed(9)
    before = torch.get_rng_state()
    sample(model, tokenizer, PROBLEMS, **SETTINGS)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert torch.is_grad_enabled()


def test_greedy_equals_a_loop_without_padding_or_cache(model, tokenizer) -> None:
    drawn = sample(
        model,
        tokenizer,
        PROBLEMS,
        samples=1,
        temperature=0.0,
        max_new_tokens=48,
        batch_size=5,
        seed=0,
    )
    model.eval()
    for problem, got in zip(PROBLEMS, drawn, strict=True):
        question = problem.prompt[0]["content"]
        ids = tokenizer(f"<|begin|><|user|>{question}<|end|><|assistant|>")["input_ids"]
        start = len(ids)
        while ids[-1] != tokenizer.eos_token_id and len(ids) < start + 48:
            with torch.no_grad():
                ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        assert got.tokens == len(ids) - start
        assert got.finish == ("stop" if ids[-1] == tokenizer.eos_token_id else "length")
        assert got.text == tokenizer.decode(ids[start:], skip_special_tokens=True)


def test_the_limit_is_named_as_the_finish(model, tokenizer) -> None:
    drawn = sample(model, tokenizer, PROBLEMS, **{**SETTINGS, "max_new_tokens": 3})
    assert {(s.finish, s.tokens) for s in drawn} == {("length", 3)}


def test_the_checkpoints_own_sampling_settings_have_no_say(model, tokenizer) -> None:
    plain = sample(model, tokenizer, PROBLEMS, **SETTINGS)
    model.generation_config.update(top_k=1, temperature=0.1, top_p=0.1, repetition_penalty=2.0)
    assert sample(model, tokenizer, PROBLEMS, **SETTINGS) == plain


def test_two_problems_of_one_id_are_refused(model, tokenizer) -> None:
    with pytest.raises(InputError, match="same id"):
        sample(model, tokenizer, [PROBLEMS[0], PROBLEMS[0]], **SETTINGS)
