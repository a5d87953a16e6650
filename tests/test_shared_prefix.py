"""A prompt that is run once for all its completions: log-probabilities and gradients of the plain pass."""

import warnings
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

trl = pytest.importorskip("trl")

from architectures import ARCHITECTURES, make  # noqa: E402
from datasets import Dataset  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from test_trl_contract import even_tokens  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer  # noqa: E402
from trl.trainer.utils import add_fused_lm_head  # noqa: E402

import maspo  # noqa: E402
from maspo.engines.trl import (  # noqa: E402
    MASPOConfig,
    MASPOTrainer,
    compute_saving,
    prefix_check,
    shared_prefix,
)  # fmt: skip
from maspo.engines.trl.pass_costs import PassCosts, Prices  # noqa: E402
from maspo.engines.trl.passes import (  # noqa: E402
    TextRows,
    deal,
    deal_together,
    plan_passes,
    prompts_of,
)
from maspo.engines.trl.positions import forward_of  # noqa: E402
from maspo.engines.trl.shared_prefix import objection, score_shared  # noqa: E402
from maspo.models import EMBEDDED  # noqa: E402

SHARING = [name for name in ARCHITECTURES if name != "mamba"]
PROMPTS = [0, 0, 1, 0, 1, 2]


def rows():
    """Make six completions of three prompts, ragged; the last prompt is a single token."""
    g = torch.Generator().manual_seed(1)
    prompts = torch.randint(4, 60, (3, 20), generator=g)[PROMPTS]
    lengths = torch.tensor([20, 13, 1])[PROMPTS]
    answers = torch.tensor([7, 2, 5, 7, 1, 4])
    prompt_mask = (torch.arange(20) >= 20 - lengths[:, None]).long()
    mask = torch.cat([prompt_mask, (torch.arange(7) < answers[:, None]).long()], 1)
    ids = torch.cat([prompts, torch.randint(4, 60, (6, 7), generator=g)], 1)
    return TextRows(ids=ids.where(mask.bool(), 0), mask=mask, completion=7)


def by_trl(model, ids, mask, keep):
    """Score with TRL's own method and fused head, which rounds to float32."""
    trainer = SimpleNamespace(accelerator=SimpleNamespace(autocast=nullcontext))
    score = trl.GRPOTrainer._get_per_token_logps_and_entropies.__wrapped__  # without its profiler
    return score(trainer, model, ids, mask, keep, compute_entropy=True)


def by_logits(model, ids, mask, keep):
    """Score in the precision of the model."""
    every = model(input_ids=ids, attention_mask=mask).logits[:, -keep - 1 : -1].log_softmax(-1)
    return every.gather(2, ids[:, -keep:, None])[..., 0], -(every.exp() * every).sum(-1), None


class Float64(TorchFunctionMode):
    """Computes in float64 where a model of float64 asks for float32: in its norms and rotary tables."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        wide = [torch.float64 if x is torch.float32 else x for x in args]
        kwargs = {k: torch.float64 if x is torch.float32 else x for k, x in (kwargs or {}).items()}
        return (torch.Tensor.double if func is torch.Tensor.float else func)(*wide, **kwargs)


def both_ways(model, score, text):
    """Return log-probabilities, entropies and gradients, by name, of the plain and the shared pass."""
    found = []
    kept = text.mask[:, -text.completion :].bool()
    for shared in (False, True):
        forward = forward_of(model, model)
        if shared:
            log_probs, entropies, _ = score_shared(score, forward, model, text)
        else:
            log_probs, entropies, _ = score(forward, text.ids, text.mask, text.completion)
        model.zero_grad()
        weights = torch.linspace(-1, 1, int(kept.sum())).to(log_probs)
        (log_probs[kept] * weights).sum().backward()
        grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        found.append({"log_probs": log_probs[kept], "entropies": entropies[kept], **grads})
    return found


def assert_same(plain, shared, tolerance):
    assert plain.keys() == shared.keys()
    largest = max(x.abs().max() for name, x in plain.items() if "." in name)
    assert largest > 0
    for name, expected in plain.items():
        size = largest if "." in name else expected.abs().max()
        assert (shared[name] - expected).abs().max() <= tolerance * size, name


@pytest.mark.parametrize("name", SHARING)
def test_gradients_are_those_of_the_plain_pass_in_float64(name):
    model, _ = make(name)
    if "moe" in name or name == "mixtral":
        model.set_experts_implementation("eager")  # the grouped product takes no float64
    with Float64():
        pair = both_ways(model.double().train(), by_logits, rows())
    assert_same(*pair, tolerance=1e-9)


@pytest.mark.parametrize("name", SHARING)
def test_gradients_are_those_of_the_plain_pass_through_the_fused_head(name):
    model, _ = make(name)
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    model.train()
    assert objection(model) is None
    assert_same(*both_ways(model, by_trl, rows()), tolerance=1e-5)


VARIANTS = {
    "tied_heads": {"tie_word_embeddings": True},
    "eager_attention": {"attn_implementation": "eager"},
    "one_head_of_keys": {"num_key_value_heads": 1},
    "stretched_positions": {
        "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_are_those_of_the_plain_pass_in_variants_of_a_model(variant):
    model, _ = make("qwen2", **VARIANTS[variant])
    with Float64():
        pair = both_ways(model.double().train(), by_logits, rows())
    assert_same(*pair, tolerance=1e-9)


@pytest.mark.parametrize("name", ["qwen2", "gemma2", "mixtral"])
def test_layers_that_are_run_again_for_their_gradient_see_the_same_prompts(name):
    model, _ = make(name)
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    model.train()
    plain, shared = both_ways(model, by_trl, rows())
    model.gradient_checkpointing_enable({"use_reentrant": False})
    assert objection(model) is None
    plain_again, shared_again = both_ways(model, by_trl, rows())
    assert_same(plain, plain_again, tolerance=1e-6)
    assert_same(shared, shared_again, tolerance=1e-6)
    assert_same(plain, shared_again, tolerance=1e-5)
    layers = [m for m in model.modules() if "_can_checkpoint_with_cache" in vars(m)]
    assert not layers  # the switch is back where it was


def test_a_model_that_keeps_its_cache_from_such_layers_is_found_out():
    model, _ = make("gpt2")
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    model.train().gradient_checkpointing_enable({"use_reentrant": False})
    with pytest.raises(LookupError, match="leaves no keys and values behind"):
        both_ways(model, by_trl, rows())


def test_adapters_get_the_gradients_of_the_plain_pass():
    model, _ = make("qwen2")
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(model, config).train()
    assert objection(model) is None
    plain, shared = both_ways(model, by_trl, rows())
    assert all("lora" in name for name in plain if "." in name)
    assert_same(plain, shared, tolerance=1e-5)
    with model.disable_adapter(), torch.no_grad():
        text = rows()
        one = by_trl(model, text.ids, text.mask, text.completion)[0]
        two = score_shared(by_trl, model, model, text)[0]
    assert (one - two).abs().max() <= 1e-5


# Models whose prompts are not shared


def refused(name, change):
    model, _ = make(name)
    model.train()
    change(model)
    return objection(model)


def with_dropout(model):
    model.model.layers[0].mlp.act_fn = torch.nn.Dropout(0.1)


OBJECTIONS = {
    "mamba": (lambda model: None, "keeps no keys and values"),
    "qwen2": (with_dropout, "dropout"),
    "llama": (
        lambda model: model.gradient_checkpointing_enable({"use_reentrant": True}), "reentrant"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OBJECTIONS)
def test_a_model_whose_prompts_cannot_be_shared_says_why(name):
    change, words = OBJECTIONS[name]
    assert words in refused(name, change)
    with torch.no_grad():
        again = refused(name, change)
    assert (again is None) == (name == "llama")  # nothing is run again without a gradient


def test_a_model_with_states_beside_keys_and_values_is_refused():
    sizes = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "linear_num_value_heads": 4, "linear_num_key_heads": 2,
        "linear_key_head_dim": 8, "linear_value_head_dim": 8, "vocab_size": 64, "head_dim": 8,
        "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16, "layer_types": ["linear_attention", "full_attention"],
    }  # fmt: skip
    config = AutoConfig.for_model("qwen3_next", **sizes)
    assert "more than keys and values" in objection(AutoModelForCausalLM.from_config(config))


# Which passes share


def test_prompts_are_numbered_by_their_first_rows_and_padding_is_no_token():
    ids = torch.tensor([[0, 5], [9, 5], [0, 5], [7, 5]])
    mask = torch.tensor([[0, 1], [0, 1], [1, 1], [0, 1]])
    assert prompts_of(ids, mask).tolist() == [0, 0, 1, 0]


def test_a_pass_shares_what_costs_less_than_running_it_again():
    costs = PassCosts([[100, 10]] * 4, [0, 0, 0, 1], Prices(call=10, repeat=0.1))
    # plain 10 + 4 x 110; shared 2 x 10 + 2 x 99 + 4 x (1 + 10 + 10)
    assert costs.of_pass([0, 1, 2, 3]) == pytest.approx(302)
    assert costs.sharing_pays([0, 1, 2, 3]) and not costs.sharing_pays([2, 3])
    assert costs.of_pass([2, 3]) == 10 + 2 * 110


@pytest.mark.parametrize("most_rows", [3, 4, 8])
def test_rows_of_a_prompt_go_together_within_the_budget_of_rows(most_rows):
    prompts = torch.tensor([0, 1, 2, 3] * 4)
    lengths = torch.tensor([[400, 20]] * 16)
    passes = plan_passes(lengths, torch.ones(16).bool(), most_rows=most_rows, prompts=prompts)
    assert all(one.shares == (len(one.rows) > 1) for one in passes)
    assert all(len(one.rows) <= most_rows for one in passes)
    assert sorted(row for one in passes for row in one.rows.tolist()) == list(range(16))
    runs = sum(len(prompts[one.rows].unique()) for one in passes)
    assert runs == 4 * -(-4 // most_rows)
    plain = plan_passes(lengths, torch.ones(16).bool(), most_rows=most_rows)
    assert not any(one.shares for one in plain)


def test_short_prompts_and_dead_rows_are_planned_as_before():
    prompts, lengths = torch.tensor([0, 1] * 4), torch.tensor([[4, 100]] * 8)
    live = torch.tensor([True, True, False, False] * 2)
    with_prompts, without = (
        plan_passes(lengths, live, most_rows=8, prompts=given) for given in (prompts, None)
    )
    assert [(p.rows.tolist(), p.shares) for p in with_prompts] == [
        (p.rows.tolist(), False) for p in without
    ]


def test_rows_of_a_prompt_are_divided_by_length_where_padding_costs_more():
    lengths = torch.tensor([[300, 2000]] + [[300, 20]] * 7)
    passes = plan_passes(
        lengths, torch.ones(8).bool(), most_rows=8, prompts=torch.zeros(8, dtype=torch.int64)
    )
    assert [one.rows.tolist() for one in passes] == [[0], [1, 2, 3, 4, 5, 6, 7]]
    assert [one.shares for one in passes] == [False, True]


def micro_batches(prompts, answers, size):
    """Make micro-batches of rows with one-token prompts, repeated to 300 tokens, and answers of a length."""
    ids = torch.tensor(prompts)[:, None].expand(-1, 300)
    mask = (torch.arange(64) < torch.tensor(answers)[:, None]).long()
    whole = {
        "prompt_ids": ids, "prompt_mask": torch.ones_like(ids), "completion_mask": mask,
        "number": torch.arange(len(prompts)), "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    parts = range(0, len(prompts), size)
    return [{k: v if v.dim() == 0 else v[i : i + size] for k, v in whole.items()} for i in parts]


def test_the_rows_of_a_prompt_are_dealt_to_one_update():
    dealt = deal_together(micro_batches([7, 5, 9, 5, 7, 9], [1] * 6, size=2))
    assert [x["number"].tolist() for x in dealt] == [[0, 4], [1, 3], [2, 5]]


def test_an_update_is_dealt_by_prompt_where_that_costs_less():
    window = micro_batches([7, 5, 7, 5, 7, 5, 7, 5], [9, 2, 3, 8, 7, 6, 1, 4], size=4)
    live = torch.ones(8).bool()
    by_length = [x["number"].tolist() for x in deal(window, live)]
    assert by_length == [[0, 3, 4, 5], [7, 2, 1, 6]]
    assert [x["number"].tolist() for x in deal(window, live, share=True)] == [
        [0, 4, 2, 6],
        [3, 5, 7, 1],
    ]


# In the trainer


QUESTIONS = [" + ".join(str(7 * n + k) for k in range(14)) for n in range(8)]


def train(folder, monkeypatch=None, **settings):
    """Train four updates, prompts of 70 tokens and more; return the trainer and the passes that shared."""
    shared = []

    def counting(score, model, bare, text):
        shared.append((bare, len(text.ids), int(text.prompts().max()) + 1, torch.is_grad_enabled()))
        return score_shared(score, model, bare, text)

    model = AutoModelForCausalLM.from_pretrained(EMBEDDED)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?!the log-prob)")
        args = MASPOConfig(
            output_dir=str(folder), objective=maspo.MASPO(), per_device_train_batch_size=8,
            gradient_accumulation_steps=2, num_generations=4, max_completion_length=10,
            learning_rate=1e-3, bf16=False, report_to=[], disable_tqdm=True,
            save_strategy="no", seed=3,
            **{"updates_per_rollout": 2, "max_steps": 4, "use_cpu": True, **settings},
        )  # fmt: skip
        trainer = MASPOTrainer(
            model, even_tokens, args,
            train_dataset=Dataset.from_dict({"prompt": QUESTIONS}),
            processing_class=AutoTokenizer.from_pretrained(EMBEDDED),
        )  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compute_saving, "score_shared", counting)
            trainer.train()
    return trainer, shared


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The weights before and after a training in which no prompt is shared, with a reference."""
    before = AutoModelForCausalLM.from_pretrained(EMBEDDED)
    trainer, shared = train(tmp_path_factory.mktemp("plain"), share_prefix=False, beta=0.05)
    assert not shared
    return torch.cat([p.detach().flatten() for p in before.parameters()]), weights(trainer)


def test_a_training_is_the_same_with_shared_prompts(plain, tmp_path, caplog):
    before, after = plain
    trainer, shared = train(tmp_path, beta=0.05)
    moved = (after - before).norm()
    assert moved > 0.1
    assert (weights(trainer) - after).norm() <= 1e-4 * moved
    whole = [one for one in shared if one[1] > 4]  # the others are compared with the plain pass
    assert len(shared) - len(whole) == 3  # policy, reference, and the policy with checkpoints
    passes = {(bare is trainer.model, grad) for bare, _, _, grad in whole}
    assert passes == {(True, True), (True, False), (False, False)}  # update, old policy, reference
    assert all(prompts * 4 == rows for _, rows, prompts, _ in whole)
    assert "not shared" not in caplog.text


FAULTS = {
    "value": lambda keys, values: (keys, values * 1.01),
    "gradient": lambda keys, values: (keys.detach(), values),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_pass_that_differs_from_the_plain_one_is_told_and_left(
    fault, plain, tmp_path, monkeypatch
):
    update = shared_prefix._RepeatedLayer.update
    monkeypatch.setattr(
        shared_prefix._RepeatedLayer,
        "update",
        lambda self, *states, **kw: FAULTS[fault](*update(self, *states, **kw)),
    )
    with pytest.warns(UserWarning, match="with shared prompts differ .* by .* of their size"):
        trainer, shared = train(tmp_path, beta=0.05)
    before, after = plain
    assert all(rows <= 4 for _, rows, _, grad in shared if grad)  # but for those that were compared
    if fault == "value":
        assert len(shared) == 3
    assert (weights(trainer) - after).norm() <= 1e-4 * (after - before).norm()


def test_a_model_that_cannot_share_is_trained_and_says_why_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(prefix_check, "objection", lambda model: "it is for a test")
    _, shared = train(tmp_path, max_steps=1, updates_per_rollout=1)
    assert not shared
    lines = [line for line in caplog.messages if "not shared" in line]
    assert lines == ["The prompts of Qwen2ForCausalLM are not shared: it is for a test."]
