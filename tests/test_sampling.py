"""Sampling: what a seed fixes, what is left undisturbed, and what a sample says of itself."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import maspo
from maspo.data.arithmetic import arithmetic_problems
from maspo.errors import InputError
from maspo.sampling import Settings, draw
from maspo.sampling.interface import layout
from maspo.sampling.with_transformers import TransformersSampler

FOLDER = Path(maspo.__file__).parent / "models" / "embedded"
PROBLEMS = arithmetic_problems(5, seed=11, split="test")
SETTINGS = Settings(samples=3, max_new_tokens=48, batch_size=6, seed=5)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture
def model():
    return AutoModelForCausalLM.from_pretrained(FOLDER)


@pytest.fixture
def sampler(model, tokenizer):
    return TransformersSampler(model, tokenizer)


def by_row(samples):
    return {(one.problem_id, one.index): one for one in samples}


def test_one_sample_a_problem_and_index_in_the_order_given(sampler) -> None:
    chunks: list[int] = []
    drawn = draw(sampler, PROBLEMS, SETTINGS, chunks.append)
    expected = [(problem.id, index) for problem in PROBLEMS for index in range(3)]
    assert [(s.problem_id, s.index) for s in drawn] == expected
    assert chunks == [6, 6, 3]


def test_the_seed_fixes_the_samples_whatever_the_order(sampler) -> None:
    first = draw(sampler, PROBLEMS, SETTINGS)
    torch.manual_seed(123)
    assert by_row(draw(sampler, PROBLEMS[::-1], SETTINGS)) == by_row(first)
    other = draw(sampler, PROBLEMS, replace(SETTINGS, seed=6))
    assert [s.text for s in other] != [s.text for s in first]
    assert len({s.text for s in first}) > len(PROBLEMS)


@pytest.mark.parametrize("batch_size", [2, 6, 64])
def test_what_is_done_is_not_drawn_and_changes_nothing(sampler, batch_size) -> None:
    """Batches smaller than a problem, of some problems, and of all; part of a chunk is done."""
    settings = replace(SETTINGS, batch_size=batch_size)
    whole = by_row(draw(sampler, PROBLEMS, settings))
    rows = list(whole)
    for done in ([], rows[:4], rows[5:6], rows[::2], rows):
        rest = [one for chunk in sampler.sample(PROBLEMS, settings, set(done)) for one in chunk]
        assert by_row(rest) == {row: one for row, one in whole.items() if row not in done}
        assert len(rest) == len(rows) - len(done)


def test_the_layout_covers_every_row_once_within_the_batch() -> None:
    lengths = {f"p{number}": 40 - number for number in range(7)}
    for samples in (1, 3, 8):
        for batch_size in (1, 3, 5, 8, 100):
            settings = replace(SETTINGS, samples=samples, batch_size=batch_size)
            chunks = list(layout(lengths, settings))
            rows = [row for chunk in chunks for row in chunk.rows]
            assert sorted(rows) == [(p, i) for p in sorted(lengths) for i in range(samples)]
            assert max(len(chunk.rows) for chunk in chunks) <= batch_size
            assert len({chunk.seed for chunk in chunks}) == len(chunks)
            assert list(layout(dict(reversed(lengths.items())), settings)) == chunks


def test_the_caller_is_left_undisturbed(model, sampler) -> None:
    model.train()
    torch.manual_seed(9)
    before = torch.get_rng_state()
    for _ in sampler.sample(PROBLEMS, SETTINGS):
        assert model.training and torch.is_grad_enabled()  # also while the caller has its turn
        assert torch.equal(torch.get_rng_state(), before)


def test_greedy_equals_a_loop_without_padding_or_cache(model, tokenizer, sampler) -> None:
    drawn = draw(sampler, PROBLEMS, replace(SETTINGS, samples=1, temperature=0.0))
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


def test_the_limit_is_named_as_the_finish(sampler) -> None:
    drawn = draw(sampler, PROBLEMS, replace(SETTINGS, max_new_tokens=3))
    assert {(s.finish, s.tokens) for s in drawn} == {("length", 3)}


def test_the_checkpoints_own_sampling_settings_have_no_say(model, sampler) -> None:
    plain = draw(sampler, PROBLEMS, SETTINGS)
    model.generation_config.update(top_k=1, temperature=0.1, top_p=0.1, repetition_penalty=2.0)
    assert draw(sampler, PROBLEMS, SETTINGS) == plain


def test_two_problems_of_one_id_are_refused(sampler) -> None:
    with pytest.raises(InputError, match="same id"):
        draw(sampler, [PROBLEMS[0], PROBLEMS[0]], SETTINGS)


@pytest.mark.parametrize(
    "wrong",
    [{"samples": 0}, {"batch_size": 0}, {"max_new_tokens": 0}, {"temperature": -1}, {"top_p": 0}],
)
def test_impossible_settings_are_refused(wrong) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        replace(SETTINGS, **wrong)
