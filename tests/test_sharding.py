"""Weights dealt out to processes: what a run cannot use is refused before a model loads.

`test_cli.py` trains with them in two processes.
"""

import pytest

from maspo.engines.trl.checkpoint import check_form
from maspo.engines.trl.config import MASPOConfig
from maspo.engines.trl.sharding import broken_weights, check_sharding, trained_weights
from maspo.errors import InputError
from maspo.models import load_model


def settings(tmp_path, **given):
    return MASPOConfig(str(tmp_path), updates_per_rollout=4, use_cpu=True, bf16=False, **given)


@pytest.mark.parametrize(
    ("version", "given", "quantization", "reason"),
    [
        ("1", {}, None, "fsdp_version: 2"),
        ("2", {"staleness": 2}, None, "staleness needs all weights on every process, which FSDP"),
        ("2", {"use_vllm": True}, None, r"set rollout\.engine to transformers"),
        ("2", {}, "4bit", "deals out no weights in 4bit"),
    ],
)
def test_what_a_run_cannot_use_under_fsdp_is_refused(
    version, given, quantization, reason, tmp_path, monkeypatch
):
    args = settings(tmp_path, **given)
    check_sharding(args, quantization)  # where nothing is dealt out
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")  # as accelerate's launcher says it
    monkeypatch.setenv("FSDP_VERSION", version)
    with pytest.raises(InputError, match=reason):
        check_sharding(args, quantization)


def test_fsdp_in_one_process_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is one: give --gpus"):
        check_sharding(settings(tmp_path, fsdp=True), None)


def test_fsdp2_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    check_sharding(settings(tmp_path), None)


@pytest.mark.parametrize(
    ("file", "now", "reason"),
    [
        ("model.safetensors", None, None),
        ("pytorch_model_fsdp_0/__0_0.distcp", "FSDP", None),
        ("pytorch_model_fsdp.bin", "FSDP", None),
        ("global_step4/mp_rank_00_model_states.pt", "DeepSpeed", None),
        ("pytorch_model_fsdp_0/__0_0.distcp", None, "under FSDP, not with whole weights as now"),
        ("model.safetensors", "FSDP", "with whole weights, not under FSDP as now"),
    ],
)
def test_a_checkpoint_goes_on_as_it_was_dealt_out(file, now, reason, tmp_path):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    if reason is None:
        check_form(tmp_path, now)
    else:
        with pytest.raises(InputError, match=reason):
            check_form(tmp_path, now)


def test_a_whole_model_gives_what_is_trained_and_what_is_broken():
    model, _ = load_model("embedded")
    model.model.embed_tokens.requires_grad_(False)
    found = trained_weights(model)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert found.keys() == trained and "model.embed_tokens.weight" not in found
    assert broken_weights(model) is None
    model.model.norm.weight.data[3] = float("nan")
    assert broken_weights(model) == "model.norm.weight"
