"""Group decoding: the tokens of `generate` when greedy, the model's distribution when sampled."""

import logging
from collections import Counter
from functools import wraps
from itertools import product

import pytest
import torch
from scipy.stats import chi2_contingency, chisquare

transformers = pytest.importorskip("transformers")

from transformers import GenerationConfig  # noqa: E402

from maspo.models import EMBEDDED  # noqa: E402
from maspo.sampling import decode, group  # noqa: E402
from maspo.sampling.group import complete, complete_rows, decode_rows  # noqa: E402

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 8,
         "num_key_value_heads": 2, "intermediate_size": 48, "vocab_size": 29}  # fmt: skip
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 29, "n_positions": 128,
        "bos_token_id": 0, "eos_token_id": 1, "tie_word_embeddings": False}  # fmt: skip
PAD, ENDS = 0, [1, 2, 10, 25]
PROMPTS = [[3, 9, 4], [7], [11, 12, 13, 14, 15, 16, 17], [5, 6, 5, 6], [20, 21]]


def make(kind="Llama", dtype=torch.float64, **shape):
    """Build a model of random weights, large enough that it says various things."""
    torch.manual_seed(6)
    config = getattr(transformers, f"{kind}Config")(**((GPT2 if kind == "GPT2" else SHAPE) | shape))
    head = "LMHeadModel" if kind == "GPT2" else "ForCausalLM"
    model = getattr(transformers, kind + head)(config).to(dtype).eval()
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data.mul_(8)
    model.generation_config = GenerationConfig(eos_token_id=ENDS, pad_token_id=PAD)
    return model


def greedy(**settings):
    return GenerationConfig(**{"max_new_tokens": 24, "do_sample": False, "top_k": 50} | settings)


def sampled(**settings):
    plain = {"max_new_tokens": 24, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    return GenerationConfig(do_sample=True, **plain | settings)


def generated(model, prompts, config, ends=ENDS):
    """Call `generate` for all prompts, padded on the left, and cut after the first end."""
    width = max(map(len, prompts))
    ids = torch.tensor([[PAD] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    out = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    stops = [next((i for i, t in enumerate(row) if t in ends), len(row)) for row in out[:, width:]]
    return [row[: stop + 1].tolist() for row, stop in zip(out[:, width:], stops, strict=True)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["Llama", "Qwen2", "GPT2", "embedded"])
def test_greedy_equals_generate(kind, dtype):
    prompts, ends = PROMPTS, ENDS
    if kind == "embedded":
        model = transformers.AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=dtype).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(EMBEDDED)
        ends = [tokenizer.eos_token_id]
        prompts = [
            tokenizer(f"<|begin|><|user|>{sum}<|end|><|assistant|>")["input_ids"]
            for sum in ("7+8", "123+456+789", "50+61")
        ]
    else:
        model = make(kind, dtype)
    expected = generated(model, prompts, greedy(max_new_tokens=48), ends)
    found = complete(model, prompts, 3, greedy(max_new_tokens=48))
    assert found == [[completion] * 3 for completion in expected]
    assert len({len(completion) for completion in expected}) > 1, "no row ended before another"


@pytest.mark.parametrize(
    "settings",
    [
        {"repetition_penalty": 1.7},
        {"no_repeat_ngram_size": 2},
        {"suppress_tokens": [8, 19, 23, 26]},
        {"min_new_tokens": 12},
        {"bad_words_ids": [[17], [5, 6], [8], [19]]},
        {"eos_token_id": 14},
        {"max_new_tokens": None, "max_length": 19},
    ],
    ids=lambda settings: list(settings)[-1],
)
def test_processors_and_stopping_rules_are_those_of_generate(settings):
    model = make()
    config = greedy(**settings)
    ends = [14] if "eos_token_id" in settings else ENDS
    expected = generated(model, PROMPTS, config, ends)
    assert [each[0] for each in complete(model, PROMPTS, 2, config)] == expected
    assert expected != generated(model, PROMPTS, greedy()), "the setting changed nothing"


def exact(model, prompt, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    """Give the probability of each completion of two tokens, without cache and padding."""

    def next_token(ids):
        with torch.no_grad():
            p = (model(input_ids=torch.tensor([ids])).logits[0, -1] / temperature).softmax(-1)
        kept = p.argsort(descending=True)[: top_k or len(p)]
        kept = kept[p[kept] >= min_p * p.max()]
        kept = kept[p[kept].cumsum(0) - p[kept] < top_p * p[kept].sum()]
        return dict(zip(kept.tolist(), (p[kept] / p[kept].sum()).tolist(), strict=True))

    joint = {}
    for token, p in next_token(prompt).items():
        if token in ENDS:
            joint[token,] = p
        else:
            for last, q in next_token([*prompt, token]).items():
                joint[token, last] = p * q
    return joint


SETTINGS = [
    {"temperature": 1.0},
    {"temperature": 0.6},
    {"top_k": 3},
    {"top_p": 0.8},
    {"min_p": 0.2},
    {"temperature": 1.3, "top_k": 5, "top_p": 0.9},
]


def tiny():
    """Make a model of 7 tokens, whose distribution is neither flat nor a spike."""
    return make(vocab_size=7)


def fit(model, drawn, prompt, settings):
    """Test counts of completions against exact probabilities; cells of few are pooled."""
    joint = exact(model, prompt, **settings)
    counts = Counter(map(tuple, drawn))
    if not counts.keys() <= joint.keys():
        return 0.0
    total = len(drawn)
    rare = {cell for cell, p in joint.items() if p * total < 5}
    cells = [cell for cell in joint if cell not in rare]
    observed = [counts[cell] for cell in cells] + [sum(counts[cell] for cell in rare)]
    expected = [joint[cell] * total for cell in cells] + [sum(joint[cell] for cell in rare) * total]
    if not rare:
        observed, expected = observed[:-1], expected[:-1]
    assert len(expected) > 2
    return chisquare(observed, expected, sum_check=False).pvalue


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: "-".join(settings))
def test_sampling_has_the_models_distribution(settings):
    model = tiny()
    prompts = [[3, 5, 4], [6], [4, 3, 3, 5]]
    torch.manual_seed(1)
    drawn = complete(model, prompts, 3000, sampled(max_new_tokens=2, **settings))
    for prompt, completions in zip(prompts, drawn, strict=True):
        assert fit(model, completions, prompt, settings) > 1e-3
        wrong = settings | {"temperature": settings.get("temperature", 1.0) * 1.5}
        assert fit(model, completions, prompt, wrong) < 1e-6, "the test could not have failed"


@pytest.mark.parametrize("vocabulary", [700, 1700])
def test_a_vocabulary_is_drawn_from_by_its_probabilities(vocabulary):
    """At once or by blocks; their borders, tokens of probability 0 and the rarest, by plain sums."""
    generator = torch.Generator().manual_seed(3)
    p = torch.rand(1000, vocabulary, generator=generator) ** 8
    p[:, ::3] = 0
    p[:, 512:] *= 1e-6
    uniform = torch.rand(1000, 1, dtype=torch.float64, generator=generator)
    uniform[:3] = torch.tensor([[0.0], [1 - 2**-53], [1 - 1e-9]])
    tokens = decode._invert(p, uniform)
    heights = (p.double() / p.double().sum(1, keepdim=True)).cumsum(1)
    above = heights.gather(1, tokens[:, None])
    below = above - (p.double() / p.double().sum(1, keepdim=True)).gather(1, tokens[:, None])
    assert (p.gather(1, tokens[:, None]) > 0).all()
    assert (below - 1e-12 <= uniform).all() and (uniform <= above + 1e-12).all()
    assert (tokens >= 512).any() and (tokens < 256).any()


def test_samples_of_a_group_and_tokens_of_a_sample_are_independent():
    model = tiny()
    torch.manual_seed(2)
    (drawn,) = complete(model, [[3, 5]], 4000, sampled(max_new_tokens=1))
    first = torch.zeros(7, 7)
    for one, two in zip(drawn[::2], drawn[1::2], strict=True):
        first[one[0], two[0]] += 1
    seen = first[first.sum(1) > 0][:, first.sum(0) > 0]
    assert chi2_contingency(seen.numpy()).pvalue > 1e-3


def test_a_seed_fixes_the_samples_and_waves_change_nothing(monkeypatch):
    model = make()
    bytes_of_a_row = 2 * 2 * 2 * 8 * 8 * (7 + 24)  # keys and values, layers, heads, width, float64
    waves = []
    whole = group.decode

    def watched(task, prompt_of, uniforms):
        waves.append(len(prompt_of))
        return whole(task, prompt_of, uniforms)

    monkeypatch.setattr(group, "decode", watched)
    runs = []
    for seed, budget in product((1, 2), (None, 6 * bytes_of_a_row, 1)):
        torch.manual_seed(seed)
        runs.append(complete(model, PROMPTS, 4, sampled(), cache_budget=budget))
    assert waves == [20, 6, 6, 6, 2, *[1] * 20] * 2
    assert runs[0] == runs[1] == runs[2] != runs[3] == runs[4] == runs[5]


def test_each_prompt_is_prefilled_once_and_finished_rows_leave():
    model = make()
    sizes = []
    model.register_forward_pre_hook(
        lambda _, args, kwargs: sizes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    torch.manual_seed(1)
    drawn = complete_rows(model, [PROMPTS[i % 3] for i in range(96)], sampled())
    assert sizes[0] == (3, 7)
    live = [sum(len(completion) > step for completion in drawn) for step in range(1, 24)]
    live = [rows for rows in live if rows]
    assert len(sizes) - 1 == len(live) and live[-1] < 48
    for (rows, width), alive in zip(sizes[1:], live, strict=True):
        assert width == 1 and alive <= rows <= alive * 16 / 15 + 1


def test_equal_rows_need_not_stand_together():
    model = make()
    alone = {place: generated(model, [PROMPTS[place]], greedy())[0] for place in (0, 1, 2)}
    order = [0, 1, 0, 2, 1, 0]
    found = complete_rows(model, [PROMPTS[place] for place in order], greedy())
    assert found == [alone[place] for place in order]


def test_adapters_are_used():
    peft = pytest.importorskip("peft")
    base = generated(make(), PROMPTS, greedy())
    model = peft.get_peft_model(
        make(), peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    ).double()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=2.0)
    expected = generated(model.eval(), PROMPTS, greedy())
    assert expected != base
    assert complete_rows(model, PROMPTS, greedy()) == expected


@pytest.mark.parametrize(
    ("kind", "shape", "settings", "reason"),
    [
        ("Mistral", {"sliding_window": 4}, {}, "not of full attention"),
        ("Mamba", {"state_size": 4, "num_heads": 4}, {}, "no plain dynamic cache"),
        ("Llama", {}, {"cache_implementation": "static"}, "no plain dynamic cache"),
        ("Llama", {}, {"num_beams": 2}, "mode is beam_search"),
        ("Llama", {}, {"guidance_scale": 1.5}, "UnbatchedClassifierFreeGuidanceLogitsProcessor"),
    ],
    ids=["sliding", "mamba", "static", "beams", "guidance"],
)
def test_what_only_generate_can_do_is_left_to_it(kind, shape, settings, reason, caplog):
    group.say_once.cache_clear()
    model = make(kind, torch.float32, **shape)
    config = greedy(max_new_tokens=8, **settings)
    with caplog.at_level(logging.WARNING, logger=group.__name__):
        found = complete(model, PROMPTS, 2, config)
        complete(model, PROMPTS, 1, config)
    expected = generated(model, PROMPTS, config)
    assert found == [[completion] * 2 for completion in expected]
    (record,) = [record for record in caplog.records if record.name == group.__name__]
    assert reason in record.message


def test_a_wrapper_around_generate_is_called_and_decodes_all_the_same():
    """As transformers puts one around it under FSDP; a `generate` of the model's own is no wrapper."""
    model, calls = make(), []
    inner = model.generate

    @wraps(inner)
    def outer(*args, **kwargs):
        calls.append(kwargs)
        return inner(*args, **kwargs)

    model.generate = outer
    expected = decode_rows(make(), PROMPTS, greedy())
    assert decode_rows(model, PROMPTS, greedy()) == expected and len(calls) == 1
    model.generate = lambda *args, **kwargs: None
    with pytest.raises(decode.Unsupported, match="generate is its own"):
        decode_rows(model, PROMPTS, greedy())


def test_broken_weights_are_named():
    model = make()
    model.lm_head.weight.data[3] = float("nan")
    with pytest.raises(FloatingPointError, match="probabilities are not finite"):
        complete_rows(model, PROMPTS, sampled())


def test_the_trainer_gets_what_stock_trl_gives_it(tmp_path):
    """With a filter that leaves one token, both decode alike: tokens, texts, lengths in the log."""
    pytest.importorskip("trl")
    from test_trl_contract import PROMPTS as QUESTIONS
    from test_trl_contract import MASPOConfig, MASPOTrainer, make

    found, sizes = {}, {}
    for grouped in (True, False):
        trainer = make(
            MASPOTrainer, MASPOConfig, tmp_path, torch.float64, top_k=1, group_decoding=grouped
        )
        rows = sizes[grouped] = []
        trainer.model.register_forward_pre_hook(
            lambda _, args, kwargs, rows=rows: rows.append(len(kwargs["input_ids"])),
            with_kwargs=True,
        )
        asked = [QUESTIONS[place] for place in (0, 0, 0, 0, 3, 3, 3, 3)]
        found[grouped] = trainer._generate(asked)
        found[grouped] += (trainer._metrics["train"],)
    assert found[True] == found[False]
    assert (sizes[True][0], sizes[False][0]) == (2, 8)
