"""What is loaded is the model that was meant: every weight there and finite, adapters merged."""

from pathlib import Path

import pytest
import torch
from architectures import make, save
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from maspo.errors import InputError
from maspo.models import load_model

UP = "model.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop(UP), rf"missing: {UP}"),
        (lambda w: w.update(odd=torch.ones(2)), "without a place in it: odd"),
        (lambda w: w.update({UP: torch.ones(3, 3)}), rf"of another shape: {UP}"),
        (lambda w: w[UP].__setitem__((0, 0), torch.nan), rf"hold NaN or infinite numbers: {UP}"),
        (lambda w: w[UP].__setitem__((0, 0), torch.inf), rf"hold NaN or infinite numbers: {UP}"),
    ],
)
def test_weights_that_are_not_the_models_are_named(change, message, tmp_path):
    file = Path(save("qwen2", tmp_path)) / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match=message):
        load_model(str(tmp_path))


def test_an_adapter_is_merged_or_refused(tmp_path):
    base = save("qwen2", tmp_path / "base")
    model, _ = load_model(base)
    torch.manual_seed(3)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    adapted = get_peft_model(model, config)
    adapted.peft_config["default"].base_model_name_or_path = base
    adapted.save_pretrained(tmp_path / "adapter")
    ids = torch.arange(3, 20)[None]
    expected = adapted.eval()(input_ids=ids).logits
    merged, tokenizer = load_model(str(tmp_path / "adapter"))
    assert tokenizer.chat_template and all(p.requires_grad for p in merged.parameters())
    torch.testing.assert_close(merged(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-4)
    (tmp_path / "base").rename(tmp_path / "gone")
    with pytest.raises(InputError, match=r"holds an adapter of .* merge the adapter"):
        load_model(str(tmp_path / "adapter"))


def test_a_padding_token_without_an_embedding_is_replaced(tmp_path):
    model, tokenizer = make("qwen2")
    size = model.get_input_embeddings().num_embeddings
    tokenizer.add_tokens([f"<{number}>" for number in range(size - len(tokenizer))])
    tokenizer.add_special_tokens({"pad_token": "<new>"})
    assert tokenizer.pad_token_id == size
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded, its = load_model(str(tmp_path))
    assert its.pad_token_id == loaded.generation_config.pad_token_id == its.eos_token_id == 2
