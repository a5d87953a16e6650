"""Adapters over weights in 4 or 8 bits: what is refused, what it takes, and that it is what it stands for."""

import sys
from pathlib import Path

import pytest
import torch

from maspo.engines.engine import engine_named
from maspo.engines.trl.translate import trl_config
from maspo.errors import InputError
from maspo.lab.forecast.memory import estimate_memory
from maspo.models import load_model
from maspo.models.adapter import merged_with_adapter
from maspo.models.quantized import bytes_spared, plain_parameters
from maspo.models.skeleton import skeleton
from maspo.recipes import load_recipe

LORA = ["model.lora={rank: 4}", "training.micro_batch=64"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["model.quantization=4bit"], "set lora"),
        (["model.quantization=2bit", *LORA], "4bit"),
        (["model.quantization=8bit", "model.source=some.gguf", *LORA], "leave out quantization"),
    ],
)
def test_what_cannot_be_held_in_few_bits_is_refused(settings, reason):
    with pytest.raises(InputError, match=reason):
        load_recipe("quickstart", settings)


def test_what_is_missing_is_said_before_anything_loads(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # as where it is not installed
    recipe = load_recipe("quickstart", ["model.quantization=4bit", *LORA])
    with pytest.raises(InputError, match=r"quantization: 4bit needs a package: pip install"):
        trl_config(recipe, Path("nowhere"))
    recipe = load_recipe("quickstart", ["model.quantization=4bit", "rollout.engine=vllm", *LORA])
    with pytest.raises(InputError, match=r"set rollout\.engine to transformers"):
        trl_config(recipe, Path("nowhere"))


def test_an_adapter_is_no_model_to_hold_in_few_bits(tmp_path):
    from peft import LoraConfig, get_peft_model

    base, _ = load_model("embedded")
    base.save_pretrained(tmp_path / "base")
    adapter = get_peft_model(base, LoraConfig(r=1, target_modules=["q_proj"]))
    adapter.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    adapter.save_pretrained(tmp_path / "adapter")
    with pytest.raises(InputError, match="no model with weights of its own"):
        load_model(str(tmp_path / "adapter"), quantization="4bit")


BYTES = {"4bit": 360_040, "8bit": 577_536}
"""Parameters and scales of the embedded model as bitsandbytes 0.50.2 holds it, counted there."""


@pytest.mark.parametrize("quantization", BYTES)
def test_a_plan_counts_what_bitsandbytes_holds(quantization):
    model = skeleton("embedded", "float32")
    whole = sum(p.numel() * 4 for p in model.parameters())
    assert whole - bytes_spared(model, quantization) == BYTES[quantization]
    recipe = load_recipe("quickstart", [f"model.quantization={quantization}", *LORA])
    found = estimate_memory(recipe, engine_named("trl"), model, 16, 1)
    assert found.weights == BYTES[quantization] + 2 * found.trained  # adapters in bfloat16
    assert found.gradients == 2 * found.trained


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("quantization", BYTES)
def test_training_and_merging_are_those_of_the_dequantised_weights(quantization):
    """Against the plain model with these weights: gradients of the adapter, then what is merged."""
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    held, _ = load_model("embedded", quantization=quantization)
    plain, _ = load_model("embedded")
    assert not plain.load_state_dict(dict(plain_parameters(held)), strict=False).unexpected_keys
    ids = torch.randint(3, 200, (2, 12))
    with torch.no_grad():
        held.eval()(ids)  # as sampling does before an update
    models = [
        get_peft_model(m, LoraConfig(r=4, target_modules="all-linear")) for m in (held, plain)
    ]
    for name, weight in models[1].named_parameters():
        if weight.requires_grad:
            weight.data.normal_(0, 0.05)
            models[0].get_parameter(name).data.copy_(weight.data)
    for model in models:
        model.train()(ids).logits.log_softmax(-1)[..., 5].sum().backward()
    for name, weight in models[1].named_parameters():
        if weight.requires_grad:
            ours = models[0].get_parameter(name).grad
            assert (ours - weight.grad).norm() <= 1e-4 * weight.grad.norm()
    merged = merged_with_adapter(models[0])
    assert not hasattr(merged.config, "quantization_config")
    with torch.no_grad():
        expected, found = (m.eval()(ids).logits for m in (models[1], merged))
    assert (found - expected).abs().max() < 1e-4
