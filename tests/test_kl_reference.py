"""KL is measured against the weights that were handed to the trainer, not against those of their file."""

import weakref

import pytest
import torch

pytest.importorskip("trl")

from architectures import make, save
from test_ratio_is_one import QUESTIONS, train
from transformers.integrations import deepspeed
from trl.trainer import grpo_trainer

from maspo.engines.trl.reference import reference_is
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


def from_one_gguf_file(folder):
    """Return (model, tokenizer) from a GGUF file, beside which no other weights lie."""
    gguf = pytest.importorskip("gguf")
    model, tokenizer = make("qwen2")
    shape, words = model.config, tokenizer.get_vocab()
    words = sorted(words, key=words.__getitem__)
    words += ["12", *(f"<{n}>" for n in range(len(words) + 1, shape.vocab_size))]
    file = folder / "tiny.gguf"
    writer = gguf.GGUFWriter(file, "qwen2")
    writer.add_block_count(shape.num_hidden_layers)
    writer.add_context_length(shape.max_position_embeddings)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.num_attention_heads)
    writer.add_head_count_kv(shape.num_key_value_heads)
    writer.add_layer_norm_rms_eps(shape.rms_norm_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words)
    writer.add_token_merges(["1 2"])  # one at least, or the format has no place for it
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_chat_template(tokenizer.chat_template)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, shape.num_hidden_layers)
    for name, weights in model.state_dict().items():
        writer.add_tensor(names.get_name(name, (".weight", ".bias")), weights.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    read, tokenizer = load_model(str(file))
    for name, weights in model.state_dict().items():
        assert torch.equal(read.state_dict()[name], weights), name
    return read, tokenizer


def never_saved(_):
    """Return a model that has no file."""
    return make("llama")


def measured(trainer):
    return [line["kl"] for line in trainer.state.log_history if "kl" in line]


@pytest.mark.parametrize(
    "source", [merged_adapter, from_one_gguf_file, changed_after_loading, never_saved]
)
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


def test_with_zero_3_the_reference_is_of_the_models_name_and_that_is_said(tmp_path, monkeypatch):
    """DeepSpeed is not needed to see it: transformers asks the configuration that is in force."""

    class Configuration:
        def is_zero3(self):
            return True

    kept = Configuration()
    model, _ = make("llama")
    with reference_is(model), monkeypatch.context() as zero_3:
        zero_3.setattr(deepspeed, "_hf_deepspeed_config_weak_ref", weakref.ref(kept))
        with (
            pytest.warns(
                UserWarning, match="with ZeRO-3 the reference .* is loaded from /no/place"
            ),
            pytest.raises((ImportError, OSError)),  # without DeepSpeed, or with it
        ):
            grpo_trainer.create_model_from_path("/no/place")
