"""The plug-in against verl's own functions: nothing of verl is replaced, and nothing is started.

Runs where verl is installed, in an environment of its own; see `.ci/run`.
"""

import ast
import importlib.util
import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("verl", reason="verl is not installed")

from hydra.utils import instantiate
from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY, get_policy_loss_fn
from verl.utils.metric import AggregationType, Metric, reduce_metrics
from verl.utils.py_functional import append_to_dict
from verl.workers.config import FSDPActorConfig, PolicyLossConfig
from verl.workers.utils.losses import ppo_loss

import maspo
from maspo import InputError, policy_loss
from maspo.core.batch import TokenBatch
from maspo.core.diagnostics import gate_metrics
from maspo.engines.two_tokens import weights_of_two
from maspo.engines.verl.advantages import VerlAdvantages
from maspo.engines.verl.handover import handed_over
from maspo.engines.verl.loss import VerlLoss
from maspo.engines.verl.plugin import losses
from maspo.engines.verl.probe import as_verl
from maspo.engines.verl.settings import MASPOPolicyLossConfig

ROWS, TIME = 8, 7
TRAINABLE = [n for n, k in maspo.OBJECTIVES.items() if not k.inputs and not k.couples_batch]
REDUCTIONS = ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm"]


def actor(loss=None, **settings):
    """Make verl's actor settings; `loss` is a PolicyLossConfig or the name of a registered loss."""
    if isinstance(loss, str):
        own = maspo.OBJECTIVES.get(loss.removeprefix("maspo."))
        said = (
            {"advantages": own.advantages, "reduction": settings.get("loss_agg_mode")}
            if own
            else {}
        )
        loss = (MASPOPolicyLossConfig if any(said.values()) else PolicyLossConfig)(
            loss_mode=loss, **(said if any(said.values()) else {})
        )
    return FSDPActorConfig(
        policy_loss=loss or PolicyLossConfig(),
        rollout_n=4,
        ppo_micro_batch_size_per_gpu=1,
        **settings,
    )


def batch(seed=0, spread=1.5):
    """Make log-probabilities, old ones, advantages, mask and rollout weights, `[ROWS, TIME]`, float64."""
    g = torch.Generator().manual_seed(seed)
    old = -4 * torch.rand(ROWS, TIME, generator=g, dtype=torch.float64).square()
    new = (old + spread * torch.randn(ROWS, TIME, generator=g, dtype=torch.float64)).clamp(max=0)
    advantages = torch.randn(ROWS, 1, generator=g, dtype=torch.float64).expand(ROWS, TIME)
    lengths = torch.tensor([7, 1, 3, 5, 7, 2, 4, 6])[:, None]
    weights = 2 * torch.rand(ROWS, TIME, generator=g, dtype=torch.float64)
    return new, old, advantages, torch.arange(TIME) < lengths, weights


def gradient(config, data, rows=slice(None), **counts):
    """Give loss, gradient and metrics of some rows of `data` through the registered loss."""
    new, old, advantages, mask, weights = (x[rows] for x in data)
    leaf = new.clone().requires_grad_()
    config.global_batch_info.clear()
    config.global_batch_info.update(counts, loss_scale_factor=config.loss_scale_factor)
    loss, metrics = get_policy_loss_fn(config.policy_loss.loss_mode)(
        old_log_prob=old,
        log_prob=leaf,
        advantages=advantages,
        response_mask=mask,
        loss_agg_mode=config.loss_agg_mode,
        config=config,
        rollout_is_weights=weights,
    )
    loss.backward()
    return loss.detach(), leaf.grad, metrics


def reduced(name):
    """Give the settings of a reduction."""
    factor = {"loss_scale_factor": 11} if name == "seq-mean-token-sum-norm" else {}
    return {"loss_agg_mode": name, **factor}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", TRAINABLE)
def test_value_and_gradient_are_those_of_policy_loss(name, reduction):
    data = batch()
    loss, found, _ = gradient(actor(f"maspo.{name}", **reduced(reduction)), data)
    new, old, advantages, mask, weights = data
    leaf = new.clone().requires_grad_()
    length = 11 if reduction == "seq-mean-token-sum-norm" else None
    expected = policy_loss(
        leaf, old, advantages, mask, objective=name, reduction=reduction, max_length=length,
        rollout_weights=weights,
    )  # fmt: skip
    expected.loss.backward()
    torch.testing.assert_close(loss, expected.loss.detach(), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(found, leaf.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_our_dual_clip_is_verls_vanilla_with_its_metrics(reduction):
    for seed in range(5):
        data = batch(seed)
        ours = gradient(actor("maspo.dual_clip", **reduced(reduction)), data)
        theirs = gradient(actor("vanilla", **reduced(reduction)), data)
        torch.testing.assert_close(ours[0], theirs[0])
        torch.testing.assert_close(ours[1], theirs[1])
        for key, value in theirs[2].items():
            assert ours[2][key].item().aggregate() == pytest.approx(value, rel=1e-6), key


def test_grpo_with_clips_of_its_own_is_vanilla_with_the_same():
    settings = {"name": "grpo", "epsilon_low": 0.1, "epsilon_high": 0.3, "cap": 5.0}
    data = batch(3)
    ours = gradient(actor(MASPOPolicyLossConfig(objective=settings)), data)
    config = actor("vanilla", clip_ratio_low=0.1, clip_ratio_high=0.3, clip_ratio_c=5.0)
    theirs = gradient(config, data)
    torch.testing.assert_close(ours[1], theirs[1])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["maspo", "gspo", "sapo", "gmpo", "vespo", "dro", "luspo"])
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("micro", [1, 2, 4])
def test_any_split_gives_the_same_gradient(name, reduction, processes, micro):
    config, data = actor(f"maspo.{name}", **reduced(reduction)), batch()
    counts = {"batch_num_tokens": int(data[3].sum()), "global_batch_size": ROWS}
    _, whole, _ = gradient(config, data, dp_size=1, **counts)
    share = ROWS // processes
    parts = [slice(i, i + micro) for i in range(0, ROWS, micro)]
    assert share % micro == 0
    found = [gradient(config, data, rows, dp_size=processes, **counts)[1] for rows in parts]
    # FSDP averages gradients over processes, and adds them up over micro-batches.
    torch.testing.assert_close(torch.cat(found) / processes, whole)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("micro", [1, 2, 4])
def test_metrics_pool_over_micro_batches_processes_and_updates(processes, micro):
    """By verl's own functions, in the order of its workers and its trainer."""
    config, updates, collected = actor("maspo.maspo"), [batch(0), batch(1)], {}
    for data in updates:
        counts = {"batch_num_tokens": int(data[3].sum()), "global_batch_size": ROWS}
        share, ranks = ROWS // processes, []
        for start in range(0, ROWS, share):
            metrics = {}
            for first in range(start, start + share, micro):
                rows = slice(first, first + micro)
                _, _, found = gradient(config, data, rows, dp_size=processes, **counts)
                append_to_dict(metrics, Metric.from_dict(found, AggregationType.MEAN))
            ranks.append(pickle.loads(pickle.dumps(metrics)))
        of_update = {key: Metric.aggregate_dp([rank[key] for rank in ranks]) for key in ranks[0]}
        append_to_dict(collected, of_update)
    logged = reduce_metrics(pickle.loads(pickle.dumps(collected)))
    new, old, advantages, mask, _ = (torch.cat(parts) for parts in zip(*updates, strict=True))
    tokens = TokenBatch.clean(new, old, advantages, mask)
    expected = {
        f"actor/{name}": float(mean)
        for name, mean in gate_metrics(tokens, maspo.MASPO().terms(tokens)).items()
        if not re.search(r"_p\d+$", name)  # quantiles pool as means of quantiles
    }
    expected["actor/ppo_kl"] = float((old - new)[mask].mean())
    assert len(expected) > 8
    for key, value in expected.items():
        assert type(logged[key]) is float and logged[key] == pytest.approx(value, rel=1e-6), key


def test_a_plain_mean_over_micro_batches_would_be_wrong():
    config, data = actor("maspo.maspo"), batch()
    halves = [gradient(config, data, slice(i, i + 4))[2] for i in (0, 4)]
    means = [half["actor/ppo_kl"].item().aggregate() for half in halves]
    new, old, _, mask, _ = data
    assert abs(np.mean(means) - float((old - new)[mask].mean())) > 1e-3


def test_every_objective_is_registered_and_verls_own_names_are_left_alone():
    ours = losses()
    assert {f"maspo.{name}" for name in maspo.OBJECTIVES} <= set(ours)
    clashes = {"sapo", "cispo", "gspo", "gpg", "dro", "clip_cov", "kl_cov", "dppo_tv", "dppo_kl"}
    for name in clashes:
        assert POLICY_LOSS_REGISTRY[name].__module__ == "verl.trainer.ppo.core_algos"
        assert ours[f"maspo.{name}"] == name
    assert {name for name in maspo.OBJECTIVES if name not in ours} == clashes


def test_importing_verl_is_enough_and_imports_nothing_heavy_of_ours():
    code = (
        "import sys; from verl.trainer.ppo.core_algos import get_policy_loss_fn as f\n"
        "print(f('maspo').objective_name, *sorted(m for m in sys.modules if m.startswith('maspo')))\n"
        "print('trl' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, trl = done.stdout.splitlines()[-2:]
    assert names.split()[0] == "maspo" and trl == "False"
    heavy = (
        "maspo.rewards",
        "maspo.data",
        "maspo.models",
        "maspo.recipes",
        "maspo.lab",
        "maspo.cli",
    )
    assert not [m for m in names.split() if m.startswith(heavy)]


def test_a_plug_in_that_fails_is_heard(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.metadata as m\nold = m.version\n"
        "m.version = lambda name: '0.7.0' if name == 'verl' else old(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", "import verl; print('imported')"],
        capture_output=True, text=True, check=True, env={"PYTHONPATH": str(tmp_path), "PATH": ""},
    )  # fmt: skip
    assert "imported" in done.stdout  # verl swallows it
    assert "NO objective is registered" in done.stderr
    assert (
        "verl 0.7.0 is installed, but this version of maspo is tested with verl >=0.9.0,<=0.9.1"
        in done.stderr
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            lambda: actor("maspo", clip_ratio_high=0.28),
            "actor.clip_ratio_high belongs to verl's own",
        ),
        (lambda: actor("maspo", tau_pos=1.5), "actor.tau_pos belongs to verl's own losses"),
        (
            lambda: actor(PolicyLossConfig(loss_mode="maspo", dro_beta=0.1)),
            "actor.policy_loss.dro_beta belongs to verl's own losses",
        ),
        (
            lambda: actor("maspo", loss_agg_mode="seq-mean-token-sum-norm"),
            "actor.loss_scale_factor",
        ),
        (
            lambda: actor("maspo.aspo"),
            "needs entropies: set actor_rollout_ref.actor.calculate_entropy=True",
        ),
        (lambda: actor("maspo.entropy_advantage"), "needs entropies"),
    ],
)
def test_what_cannot_be_honoured_is_refused(config, message):
    with pytest.raises(InputError, match=message):
        gradient(config(), batch())


@pytest.mark.parametrize("name", ["luspo", "gspo", "gmpo", "dac", "dr_grpo", "rloo", "dppo_tv"])
def test_verls_default_reduction_is_not_taken_for_the_methods(name):
    """The sentence names the setting with which it works."""
    own = maspo.OBJECTIVES[name]
    said = {"advantages": own.advantages} if own.advantages else {}
    default = MASPOPolicyLossConfig(loss_mode=f"maspo.{name}", **said)
    with pytest.raises(InputError, match=f"loss_agg_mode={own.reduction}, or"):
        gradient(actor(default), batch())
    gradient(actor(default, **reduced(own.reduction)), batch())
    meant = MASPOPolicyLossConfig(loss_mode=f"maspo.{name}", reduction="token-mean", **said)
    gradient(actor(meant), batch())
    with pytest.raises(InputError, match="reduction=token-mean contradicts"):
        gradient(actor(meant, loss_agg_mode="seq-mean-token-sum"), batch())


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("dr_grpo", "algorithm.adv_estimator=grpo algorithm.norm_adv_by_std_in_grpo=False"),
        ("rloo", "algorithm.adv_estimator=rloo"),
        ("reinforce_pp", "algorithm.adv_estimator=maspo.whiten"),
        ("gpg", "algorithm.adv_estimator=maspo.gpg"),
    ],
)
def test_advantages_that_a_loss_cannot_see_have_to_be_said(name, settings):
    own = maspo.OBJECTIVES[name]
    asked = reduced(own.reduction or "token-mean")
    plain = actor(PolicyLossConfig(loss_mode=f"maspo.{name}"), **asked)
    with pytest.raises(InputError, match=f"set {settings}, .*advantages={own.advantages}$"):
        gradient(plain, batch())
    said = MASPOPolicyLossConfig(loss_mode=f"maspo.{name}", advantages=own.advantages)
    gradient(actor(said, **asked), batch())
    with pytest.raises(InputError, match="unknown advantage estimator 'centre'; did you mean"):
        MASPOPolicyLossConfig(loss_mode=f"maspo.{name}", advantages="centre")


def test_a_method_without_preference_takes_any_reduction():
    for reduction in REDUCTIONS:
        gradient(actor(PolicyLossConfig(loss_mode="maspo.grpo"), **reduced(reduction)), batch())


@pytest.mark.parametrize("name", ["clip_cov", "kl_cov", "bapo"])
def test_objectives_that_couple_the_batch_take_it_whole_or_not_at_all(name):
    data, config = batch(), actor(f"maspo.{name}")
    assert torch.isfinite(gradient(config, data, global_batch_size=ROWS)[0])
    with pytest.raises(InputError, match="all 8 responses of an update, and verl would hand it 4"):
        gradient(config, data, slice(0, 4), global_batch_size=ROWS)


def test_settings_reach_the_objective():
    given = MASPOPolicyLossConfig(objective={"name": "maspo", "alpha": 0.5, "sigma_high": None})
    assert given.made == maspo.MASPO(alpha=0.5, sigma_high=None)
    assert given.loss_mode == "maspo.maspo"
    by_mode = MASPOPolicyLossConfig(loss_mode="maspo.gspo", objective={"epsilon_high": 0.001})
    assert by_mode.made == maspo.make_objective("gspo", epsilon_high=0.001)
    for name in ("maspo", "gspo"):
        assert VerlLoss(name).objective(actor(f"maspo.{name}")) == maspo.make_objective(name)


def test_the_names_of_the_authors_release():
    release = {
        "ratio_mode": "maspo", "maspo_sigma_base": 2.0, "maspo_alpha": 0.5, "maspo_beta_pos": 0.1,
        "maspo_beta_neg": 0.2, "maspo_sigma_high": 8.0, "maspo_adv_low": 0.3, "maspo_adv_high": 7.0,
    }  # fmt: skip
    target = "maspo.engines.verl.settings.MASPOPolicyLossConfig"
    made = instantiate({"_target_": target, "ratio_clip": release}).made
    assert made == maspo.MASPO(
        sigma_base=2.0,
        alpha=0.5,
        beta_pos=0.1,
        beta_neg=0.2,
        sigma_high=8.0,
        adv_low=0.3,
        adv_high=7.0,
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"objective": {"name": "maspo", "alfa": 1}},
            "hyperparameter of maspo 'alfa'; did you mean",
        ),
        ({"objective": {"name": "mapso"}}, "unknown objective 'mapso'; did you mean 'maspo'"),
        ({"objective": {"alpha": 0.5}}, "say which objective"),
        ({}, "say which objective"),
        (
            {"objective": {"name": "maspo"}, "loss_mode": "grpo"},
            "contradicts the objective 'maspo'",
        ),
        ({"loss_mode": "gspo"}, "verl's own loss; ours is maspo.gspo"),
        ({"loss_mode": "mapso"}, "unknown loss_mode 'mapso'; did you mean 'maspo'"),
        ({"loss_mode": "bypass_mode"}, "unknown loss_mode 'bypass_mode'"),
        ({"ratio_clip": {"ratio_mode": "ppo"}}, "ratio_mode must be maspo, not 'ppo'"),
        ({"ratio_clip": {"ratio_mode": "maspo", "maspo_alfa": 1}}, "did you mean 'maspo_alpha'"),
        ({"ratio_clip": {"ratio_mode": "maspo", "maspo_alpha": 7}}, "must be 0 to 1, not 7"),
        (
            {"ratio_clip": {"ratio_mode": "maspo"}, "objective": {"name": "maspo"}},
            "give only one of policy_loss.objective and policy_loss.ratio_clip",
        ),
    ],
)
def test_unknown_settings_fail_when_the_configuration_is_made(settings, message):
    with pytest.raises(InputError, match=message):
        MASPOPolicyLossConfig(**settings)


@pytest.mark.parametrize("name", ["batch", "whiten", "gpg"])
def test_our_advantages_in_verl_are_those_of_the_library(name):
    rewards = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 1.0]])
    lengths = torch.tensor([[3, 1, 4, 1], [5, 2, 2, 6], [5, 3, 5, 1]])
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(6) < lengths.flatten()[order, None]).long()
    scores = torch.zeros(12, 6).scatter(
        1, mask.sum(1, keepdim=True) - 1, rewards.flatten()[order, None]
    )
    index = np.array([f"prompt {i // 4}" for i in order.tolist()], dtype=object)
    asked = {"lengths": lengths} if name == "whiten" else {}
    expected = maspo.estimate_advantages(rewards, name, **asked).flatten()[order]
    found, returns = VerlAdvantages(name)(scores, mask, index=index)
    torch.testing.assert_close(found, expected[:, None] * mask)
    assert returns is found
    with pytest.raises(InputError, match="same number of responses"):
        VerlAdvantages(name)(scores[1:], mask[1:], index=index[1:])


def test_megatron_calls_the_same_registry():
    """What verl's Megatron engine calls, read from its source: it cannot be imported without Megatron."""
    root = Path(importlib.util.find_spec("verl").origin).parent
    engine = ast.parse((root / "workers/engine/megatron/transformer_impl.py").read_text())
    calls = {ast.unparse(node.func) for node in ast.walk(engine) if isinstance(node, ast.Call)}
    assert "loss_function" in calls  # handed in, and no registry or loss of its own
    assert not {name for name in calls if "policy_loss" in name or "ppo_loss" in name}
    worker = (root / "workers/engine_workers.py").read_text()
    assert "partial(ppo_loss, config=actor_config)" in worker
    from verl.workers.utils.losses import ppo_loss

    source = inspect.getsource(ppo_loss)
    assert "policy_loss_fn = get_policy_loss_fn(loss_mode)" in source
    assert "vanilla" in source and source.count("get_policy_loss_fn(") == 1


def test_ppo_loss_hands_over_the_entropies_of_its_forward_pass():
    """Weights ρ A'/A with A' = A + min(0.4 H, |A|/2), by hand; padding of the model's output is not read."""
    ratios, advantages = torch.tensor([[1.1, 0.95]]).double(), torch.tensor([[1.0, -1.0]]).double()
    entropies, expected = (0.5, 2.0), [1.1 * 1.2, 0.95 * 0.5]
    old = torch.full((1, 2), 0.3).double().log()
    leaf = (old + ratios.log()).requires_grad_()
    output, data = as_verl(leaf, old, advantages)
    values = torch.tensor([*entropies, float("nan")]).double()
    output["entropy"] = torch.nested.as_nested_tensor([values], layout=torch.jagged)
    config = FSDPActorConfig(
        policy_loss=MASPOPolicyLossConfig(objective={"name": "entropy_advantage"}),
        rollout_n=1, ppo_micro_batch_size_per_gpu=1, calculate_entropy=True,
    )  # fmt: skip
    loss, _ = ppo_loss(config, output, data)
    loss.backward()
    torch.testing.assert_close(weights_of_two(leaf, advantages), torch.tensor(expected).double())
    assert handed_over().entropies is None  # once the call is over
