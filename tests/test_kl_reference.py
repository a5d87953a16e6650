"""KL is measured against the weights that were handed to the trainer, not against those of their file."""

import pytest
import torch

pytest.importorskip("trl")

from architectures import make, save
from test_ratio_is_one import QUESTIONS, train

from maspo.models.load import load_model

ROWS = [{"prompt": [{"role": "user", "content": question}]} for question in QUESTIONS]


def merged_adapter(folder):
    """Return (model, tokenizer) of an adapter that is far from its base, merged into it."""
    peft = pytest.importorskip("peft")
    base = save("llama", folder / "base")
    model, _ = load_model(base)
    torch.manual_seed(1)
    settings = peft.LoraConfig(target_modules="all-linear", init_lora_weights=False)
    peft.get_peft_model(model, settings).save_pretrained(folder / "adapter")
    return load_model(str(folder / "adapter"))


def changed_after_loading(folder):
    """Return a model whose file holds other weights."""
    model, tokenizer = load_model(save("llama", folder / "saved"))
    with torch.no_grad():
        model.lm_head.weight.mul_(0.5)
    return model, tokenizer


def never_saved(_):
    """Return a model that has no file."""
    return make("llama")


def measured(trainer):
    return [line["kl"] for line in trainer.state.log_history if "kl" in line]


@pytest.mark.parametrize("source", [merged_adapter, changed_after_loading, never_saved])
def test_kl_is_zero_while_the_weights_stay(source, tmp_path):
    model, tokenizer = source(tmp_path)
    trainer, _ = train(model, tokenizer, tmp_path / "run", ROWS, beta=0.1)
    found = measured(trainer)
    assert len(found) == 4
    assert max(map(abs, found)) < 1e-6


def test_the_reference_stays_where_the_policy_goes(tmp_path):
    model, tokenizer = merged_adapter(tmp_path)
    before = [weight.clone() for weight in model.parameters()]
    trainer, _ = train(
        model, tokenizer, tmp_path / "run", ROWS, beta=0.1, learning_rate=1e-2, warmup_steps=0
    )
    found = measured(trainer)
    assert abs(found[0]) < 1e-6
    assert found[-1] > 1e-4
    reference = list(trainer.ref_model.parameters())
    assert not any(weight.requires_grad for weight in reference)
    assert all(torch.equal(a, b) for a, b in zip(reference, before, strict=True))
