"""A version of TRL that the tests did not run on is judged by what it does, and the doctor says the same."""

import warnings
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("trl")

import trl

import maspo
from maspo.engines.supported import Supported
from maspo.engines.trl import MASPOTrainer, evidence
from maspo.errors import InputError


@pytest.fixture
def unknown_version(monkeypatch):
    """Let TRL be a version that no test ran on."""
    monkeypatch.setattr(Supported, "installed", lambda self: "1.99.0")
    for cached in (evidence.prove, evidence._attributes):
        cached.cache_clear()
    yield
    evidence.prove.cache_clear()


def savings():
    return SimpleNamespace(**dict.fromkeys(evidence.RELIES_ON, True))


def test_what_is_relied_on_is_there():
    assert evidence.lacking() == {}


@pytest.mark.parametrize("objective", [maspo.MASPO(alpha=0.5), maspo.GSPO(), maspo.CISPO()])
def test_two_tokens_through_an_unknown_version_prove_it(unknown_version, objective):
    evidence.prove(objective, MASPOTrainer)


def test_tested_versions_are_taken_without_a_look(monkeypatch):
    monkeypatch.setattr(evidence, "weights_in_trl", None)
    evidence.prove.cache_clear()
    if trl.__version__ in evidence.SUPPORTED.tested:
        evidence.prove(maspo.GRPO(), MASPOTrainer)


@pytest.mark.parametrize(
    ("does", "said"),
    [
        (
            lambda *_: torch.tensor([1.0, 1.0], dtype=torch.float64),
            "get the weights .1.0, 1.0. and not",
        ),
        (lambda *_: {}["loss"], "cannot be reached .KeyError"),
    ],
)
def test_one_that_does_something_else_is_refused_in_a_sentence(
    unknown_version, monkeypatch, does, said
):
    monkeypatch.setattr(evidence, "weights_in_trl", does)
    with pytest.raises(
        InputError, match=rf"^TRL 1.99.0 is not .*{said}.*pip install 'trl==1.16.0'$"
    ):
        evidence.prove(maspo.GRPO(), MASPOTrainer)


def test_a_loss_that_ignores_the_advantages_it_is_fed_is_found(unknown_version, monkeypatch):
    """The surrogate reads old log-probabilities before the policy is scored, as another version might."""

    def early(self, model, inputs):
        old, advantages = inputs["old_per_token_logps"], inputs["advantages"]
        log_probs, _, _ = self._get_per_token_logps_and_entropies(model, None, None, 2)
        return -((log_probs - old).exp() * advantages).mean()

    monkeypatch.setattr(trl.GRPOTrainer, "_compute_loss", early)
    with pytest.raises(InputError, match=r"^TRL 1.99.0 is not"):
        evidence.prove(maspo.GRPO(), MASPOTrainer)


@pytest.mark.parametrize(
    ("name", "off"),
    [
        ("_generate_single_turn", {"group_decoding"}),
        ("_prepare_inputs", {"trim_padding", "reuse_first_forward"}),
        (
            "_get_per_token_logps_and_entropies",
            {"share_prefix", "skip_dead_rows", "trim_padding", "reuse_first_forward"},
        ),
    ],
)
def test_a_method_with_other_arguments_switches_off_what_relies_on_it(
    unknown_version, monkeypatch, name, off
):
    def other(self, everything):
        raise AssertionError

    if name == "_prepare_inputs":
        relied = {k: {**v, "_gone": ()} for k, v in evidence.RELIES_ON.items() if name in v}
        monkeypatch.setattr(evidence, "RELIES_ON", {**evidence.RELIES_ON, **relied})
    else:
        monkeypatch.setattr(trl.GRPOTrainer, name, other)
    args = savings()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        evidence.leave_out_savings(args)
    assert {one for one in vars(args) if not getattr(args, one)} == off
    lines = [str(one.message) for one in caught]
    assert len(lines) == len(off) and all("is off: TRL 1.99.0 has no" in line for line in lines)
    first, *rest = evidence.standing()
    assert "is not one of the tested versions" in first and rest == lines


def test_what_a_version_does_not_have_is_one_sentence(monkeypatch):
    def gone(module):
        raise ModuleNotFoundError("No module named 'trl.experimental.x'", name="trl.experimental.x")

    monkeypatch.setattr(maspo.engines.trl, "import_module", gone)
    with pytest.raises(InputError, match=r"^AsyncMASPOTrainer needs what TRL .* run: pip install"):
        _ = maspo.engines.trl.AsyncMASPOTrainer
