"""Every door gives the gradient of `policy_loss` under its host's normaliser, and says what it cannot do."""

import logging
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import hosts
import pytest
import torch

import maspo
from maspo.core.apply import apply_objective
from maspo.core.batch import TokenBatch
from maspo.engines import axolotl, doors, fed, host, ms_swift, prime_rl, rllm, skyrl, slime, tinker
from maspo.engines.host import STALE_CAP, host_loss, stale_objective
from maspo.engines.tinker import server
from maspo.errors import InputError

OBJECTIVES = {
    "maspo": {"alpha": 0.5},
    "grpo": {"epsilon_high": 0.28},
    "sapo": {"tau_neg": 1.3},
    "cispo": {},
    "gspo": {"epsilon_low": 0.2, "epsilon_high": 0.3},
    "dppo_tv": {"delta_low": 0.05},
}
EXACT = {"rtol": 0, "atol": 1e-12}

every_host = pytest.mark.parametrize("name", hosts.HOSTS)


@pytest.mark.parametrize("objective", OBJECTIVES)
@every_host
def test_the_gradient_is_that_of_policy_loss_over_two_micro_batches(name, objective):
    for seed in range(3):
        found, expected = hosts.HOSTS[name](objective, OBJECTIVES[objective], hosts.batch(seed))
        assert expected.abs().sum() > 0
        torch.testing.assert_close(found, expected, **EXACT)


def turned(objective, batch, *rest):
    applied = apply_objective(objective, batch, *rest)
    return replace(applied, slopes=-applied.slopes)


def divided_twice(objective, batch, *rest):
    applied = apply_objective(objective, batch, *rest)
    return replace(applied, slopes=applied.slopes / batch.mask.sum())


def without_mask(objective, batch, *rest):
    everywhere = torch.ones_like(batch.mask)
    rows = batch.log_probs - 0.1, batch.given_old_log_probs.nan_to_num(), batch.advantages + 1
    return apply_objective(objective, TokenBatch.clean(*rows, everywhere), *rest)


@pytest.mark.parametrize("fault", [turned, divided_twice, without_mask])
@every_host
def test_a_planted_fault_is_seen(name, fault, monkeypatch):
    for module in (host, server):
        monkeypatch.setattr(module, "apply_objective", fault)
    found, expected = hosts.HOSTS[name]("maspo", {}, hosts.batch())
    with pytest.raises(AssertionError):
        torch.testing.assert_close(found, expected, **EXACT)


def test_one_sequence_is_a_row():
    new, old, advantages, mask = hosts.batch()
    whole = host_loss("maspo", new, old, advantages, mask, door=prime_rl.DOOR)
    row = host_loss("maspo", new[1], old[1], advantages[1], mask[1], door=prime_rl.DOOR)
    assert torch.equal(row.tokens, whole.tokens[1])
    assert whole.tokens[~mask].abs().sum() == 0


def test_metrics_of_no_token_are_absent():
    new, old, advantages, mask = hosts.batch()
    names = [
        set(
            host_loss("maspo", new[i], old[i], advantages[i], mask[i], door=prime_rl.DOOR).metrics()
        )
        for i in (0, 1)
    ]
    assert "maspo/gate_mean_pos" in names[0] - names[1]
    assert "maspo/gate_mean_neg" in names[1] - names[0]


def inputs_of(**changes):
    new, old, advantages, mask = (x[0] for x in hosts.batch())
    given = {
        "trainer_logprobs": new, "inference_logprobs": old, "ref_logprobs": None,
        "advantages": advantages, "loss_mask": mask, "loss_weights": None,
    }  # fmt: skip
    return SimpleNamespace(**{k: v for k, v in {**given, **changes}.items() if v is not ...})


def test_prime_rl_multiplies_by_the_weights_of_the_component():
    plain = prime_rl.loss(inputs_of()).loss
    weights = torch.full((7,), 0.25, dtype=torch.float64)
    assert float(prime_rl.loss(inputs_of(loss_weights=weights)).loss) == pytest.approx(
        0.25 * float(plain), rel=1e-12
    )


@pytest.mark.parametrize(
    ("changes", "settings", "said"),
    [
        ({"inference_logprobs": ...}, {}, "hold no inference_logprobs"),
        (
            {"advantages": torch.zeros(3)},
            {},
            r"advantages must have one number for each token, \[7\]",
        ),
        ({"advantages": None}, {}, "advantages must be a tensor"),
        ({"loss_mask": torch.ones(7, dtype=torch.long)}, {}, "loss_mask must be bool"),
        ({"trainer_logprobs": torch.ones(7, dtype=torch.long)}, {}, "are these token ids"),
        ({}, {"objective": "bapo"}, "weighs tokens by their place"),
        ({}, {"objective": "real"}, "needs groups"),
    ],
)
def test_what_prime_rl_cannot_take_is_one_sentence(changes, settings, said):
    with pytest.raises(InputError, match=f"^prime-rl: .*{said}"):
        prime_rl.loss(inputs_of(**changes), **settings)


def test_a_mask_of_other_numbers_is_one_sentence():
    new, old, advantages, mask = hosts.batch()
    context = SimpleNamespace(
        logp_curr=new, logp_old=old, advantages=advantages, action_mask=3 * mask.long(), params={}
    )
    with pytest.raises(InputError, match=r"^rLLM: mask must be bool, or 0 and 1, and holds 3"):
        rllm.RLLMLoss("maspo")(context)


@pytest.mark.parametrize("name", maspo.OBJECTIVES)
def test_where_the_sampler_is_the_old_policy_no_weight_grows_without_bound(name, caplog):
    """Tokens with A < 0 whose ratio is 1000, alone in their sequences."""
    if maspo.OBJECTIVES[name].couples_batch or maspo.OBJECTIVES[name].inputs:
        return
    stale_objective.cache_clear()
    with caplog.at_level(logging.WARNING):
        made = stale_objective(prime_rl.DOOR, name, ())
        assert stale_objective(prime_rl.DOOR, name, ()) is made
    assert len(caplog.records) == 1 and "prime-rl optimises" in caplog.text
    old = torch.full((1, 1), -8.0)
    mask, minus = torch.ones(1, 1, dtype=torch.bool), -torch.ones(1, 1)
    batch = TokenBatch.clean(old + 6.9, old, minus, mask)
    weight = float(made.terms(batch).weights)
    assert weight <= STALE_CAP
    own = float(maspo.make_objective(name).terms(batch).weights)
    assert weight == (own if own <= STALE_CAP else STALE_CAP)


def test_a_cap_that_is_given_is_kept():
    for cap in (None, 3.0):
        assert stale_objective(prime_rl.DOOR, "maspo", (("cap", cap),)) == maspo.MASPO(cap=cap)


def test_skyrl_refuses_a_division_that_it_cannot_undo():
    new, old, advantages, mask = hosts.batch()
    config = SimpleNamespace(loss_reduction="token_mean", max_seq_len=None)
    with pytest.raises(InputError, match=r"^SkyRL: MASPO looks at the size .*sequence_mean"):
        skyrl.SkyRLLoss("maspo", sequences=4)(new, old, advantages, config=config, loss_mask=mask)


def test_whether_the_size_of_the_advantage_matters_is_measured():
    able = {n for n in maspo.OBJECTIVES if not maspo.OBJECTIVES[n].inputs}
    able -= {n for n in able if maspo.OBJECTIVES[n].couples_batch}
    found = {n for n in able if not skyrl.is_proportional(maspo.make_objective(n))}
    assert found == {
        "maspo", "maspo_sequence", "maspo_no_mass", "maspo_hard", "maspo_capped", "dro",
    }  # fmt: skip
    assert skyrl.is_proportional(maspo.MASPO(beta_pos=0, beta_neg=0))


def test_skyrl_undoes_a_constant_length():
    given = hosts.batch()
    config = SimpleNamespace(loss_reduction="seq_mean_token_sum_norm", max_seq_len=9)
    loss = skyrl.SkyRLLoss("maspo", sequences=4)

    def of_part(new, old, a, mask):
        return loss(new, old, a / 36, config=config, loss_mask=mask)[0]

    leaf = given[0].clone().requires_grad_()
    expected = maspo.policy_loss(
        leaf, *given[1:], objective="maspo", reduction="seq-mean-token-sum-norm", max_length=9
    )
    expected.loss.backward()
    torch.testing.assert_close(hosts.of_parts(given, of_part), leaf.grad, **EXACT)


@pytest.mark.parametrize("name", maspo.OBJECTIVES)
def test_a_loss_on_tinkers_server_is_the_objective_or_says_no(name):
    kind = maspo.OBJECTIVES[name]
    refused = kind.couples_batch or kind.inputs or name == "fipo"
    if refused:
        with pytest.raises(InputError, match=r"^Tinker: .*use maspo.engines.tinker.loss"):
            tinker.server_loss(name)
        return
    found, expected = hosts.on_tinkers_server(name, {}, hosts.batch(5))
    torch.testing.assert_close(found, expected, **EXACT)


def test_a_loss_on_tinkers_server_is_torch_alone():
    graph = torch.fx.symbolic_trace(tinker.server_loss("maspo")[0]).graph
    functions = {node.target for node in graph.nodes if node.op == "call_function"}
    assert {one.__module__.split(".")[0] for one in functions} <= {"torch", "_operator"} | {None}
    assert not any(node.op in ("get_attr", "call_module") for node in graph.nodes)


def test_tinker_hands_over_entropies_and_groups():
    new, old, advantages, mask = hosts.batch()
    data = hosts.data_of(old, advantages, mask)
    for i, datum in enumerate(data):
        datum.loss_fn_inputs["group"] = hosts.Numbers(torch.tensor([i // 2]))
    leaves = [x.detach().requires_grad_() for x in hosts.log_probs_of(new, mask)]
    loss, metrics = tinker.loss("real")(data, leaves)
    groups = torch.tensor([0, 0, 1, 1])
    expected = maspo.policy_loss(new, old, advantages, mask, objective="real", groups=groups).loss
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-12)
    assert all(isinstance(value, float) for value in metrics.values())
    with pytest.raises(InputError, match=r"^Tinker: a datum has no loss_fn_inputs\['entropies'\]"):
        tinker.loss("aspo")(data, leaves)


@pytest.mark.parametrize("length", [2, 9])
def test_a_datum_of_another_length_is_named(length):
    new, old, advantages, mask = hosts.batch()
    data = hosts.data_of(old, advantages, mask)
    data[1].loss_fn_inputs["advantages"] = hosts.Numbers(torch.zeros(length))
    with pytest.raises(InputError, match=r"^Tinker: loss_fn_inputs\['advantages'\] of datum 1"):
        tinker.loss("maspo")(data, hosts.log_probs_of(new, mask))


@pytest.mark.parametrize("name", ["use_kl_loss", "entropy_coef", "use_tis"])
def test_slime_is_told_what_its_own_loss_would_do(name):
    with pytest.raises(InputError, match=f"^slime: --{name.replace('_', '-')} is of slime's own"):
        slime._check(SimpleNamespace(**{name: 1}))


def test_settings_of_a_hosts_own_losses_are_refused():
    trainer, owned = SimpleNamespace(), {"epsilon": 0.2}
    args = SimpleNamespace(epsilon=0.3, loss_type="grpo")
    with pytest.raises(InputError, match=r"^prime-rl: epsilon is of its own losses"):
        fed.open_clip(trainer, args, owned, door=prime_rl.DOOR)
    args = SimpleNamespace(epsilon=0.2, loss_type="cispo")
    with pytest.raises(InputError, match=r"^prime-rl: loss_type=cispo is a loss of its own"):
        fed.open_clip(trainer, args, owned, door=prime_rl.DOOR)


def test_doors_are_listed_without_their_hosts():
    assert len({door.title for door in doors.DOORS.values()}) == len(doors.DOORS) == 8
    assert replace(prime_rl.DOOR, module="no.such", package="no-such").installed() is None
    assert replace(prime_rl.DOOR, module="maspo", package="no-such").installed() == "unknown"
    assert replace(prime_rl.DOOR, module="maspo", package="maspo").installed() == maspo.__version__


@pytest.mark.parametrize(
    ("probe", "live", "said"),
    [
        (lambda _: None, True, "live: the host finds it"),
        (lambda name: host_weights(name), True, "two tokens get the weights"),
        (lambda name: -host_weights(name), False, "NOT live: two tokens get .*, not the weights"),
        (lambda _: {}["door"], False, "not live: KeyError: 'door'"),
    ],
)
def test_the_doctor_says_how_a_door_stands(monkeypatch, probe, live, said):
    missing = doors.standing_of("prime_rl")
    assert (missing.version, missing.live, missing.said) == (None, False, "not installed")
    monkeypatch.setattr(doors.Door, "installed", lambda self: "9.9")
    monkeypatch.setattr(prime_rl, "probe", probe)
    found = doors.standing_of("prime_rl")
    assert found.version == "9.9" and found.live is live and re.search(said, found.said)


def host_weights(name):
    """Return the weights of the two tokens by prime-rl's loss on its inputs."""

    class LossInputs(SimpleNamespace):
        pass

    with hosts.module("prime_rl.trainer.rl.loss", LossInputs=LossInputs):
        return OWN_PROBE(name)


OWN_PROBE = prime_rl.probe


def test_the_example_of_the_docs_runs(capsys):
    page = Path(__file__).resolve().parents[1] / "docs" / "doors" / "README.md"
    exec(page.read_text("utf-8").split("```python\n")[1].split("```")[0], {})
    assert "maspo/effective_ratio_mean" in capsys.readouterr().out


@pytest.mark.parametrize("name", doors.DOORS)
def test_every_door_has_a_page_that_names_what_was_tried(name):
    page = Path(__file__).resolve().parents[1] / "docs" / "doors" / f"{name}.md"
    text = page.read_text("utf-8")
    number = re.findall(r"\d+\.\d+\.\d+|[0-9a-f]{7}", doors.DOORS[name].tried)[0]
    assert number in text
    for heading in (
        "Install",
        "What holds",
        "What does not",
        "How to see that it is live",
        "Versions tried",
    ):
        assert f"**{heading}" in text


def test_a_host_that_scores_elsewhere_is_named():
    class Other(hosts.Fed):
        def _compute_loss(self, model, inputs):
            return model.sum()

    made = axolotl.fed_by.__wrapped__(maspo.MASPO(), Other)()
    with pytest.raises(InputError, match=r"^Axolotl: its loss does not score .* tried with 0.21.0"):
        made._compute_loss(torch.zeros(2, 2), {})


def test_a_host_of_another_version_is_named():
    with (
        hosts.module("skyrl.backends.skyrl_train.utils.ppo_utils"),
        pytest.raises(
            InputError, match=r"^SkyRL: cannot import name 'PolicyLossRegistry'.* tried with 0.3.0"
        ),
    ):
        skyrl.register()
    with pytest.raises(
        InputError, match=r"^ms-swift: No module named 'swift'; it is not installed"
    ):
        ms_swift.use("maspo")
