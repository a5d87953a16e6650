"""A method that has advantages or a reduction of its own has them through every door, or is refused."""

import warnings

import oracle_axes
import oracle_sequence
import pytest
import torch

import maspo
from maspo.core.objective import Objective

# What the papers say: advantages, reduction; none where the method leaves it open.
PUBLISHED = {
    "dr_grpo": ("center", "seq-mean-token-sum-norm"),  # arXiv:2503.20783, section 3.2
    "rloo": ("loo", "seq-mean-token-sum"),  # arXiv:2402.14740, equation 10
    "reinforce_pp": ("whiten", None),  # arXiv:2501.03262
    "gpg": ("gpg", "seq-mean-token-mean"),  # arXiv:2504.02546, equation 7
    "luspo": (None, "seq-mean-token-sum"),  # arXiv:2602.05261
    "gspo": (None, "seq-mean-token-mean"),  # arXiv:2507.18071, equation 5
    "gspo_token": (None, "seq-mean-token-mean"),
    "gmpo": (None, "seq-mean-token-mean"),  # arXiv:2507.20673, equation 4
    "dac": (None, "seq-mean-token-mean"),  # arXiv:2509.02333
    "dac_released": (None, "seq-mean-token-mean"),
    "dppo_tv": (None, "seq-mean-token-sum-norm"),  # arXiv:2602.04879
    "dppo_kl": (None, "seq-mean-token-sum-norm"),
    "real": (None, "seq-mean-token-mean"),  # arXiv:2602.05630: the mean over groups
}
REWARDS = [[1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0]]
LENGTHS = [[3, 1, 4, 2], [5, 2, 2, 5], [1, 3, 5, 2]]
MAX_LENGTH = 7
ORACLES = {
    "center": lambda: oracle_axes.center(REWARDS),
    "loo": lambda: oracle_axes.loo(REWARDS),
    "whiten": lambda: oracle_axes.whiten(REWARDS, LENGTHS),
    "gpg": lambda: oracle_axes.gpg(REWARDS),
    None: lambda: oracle_axes.group(REWARDS),
}


def each_token(rule):
    """Apply the rule of a single token to a sequence of (log π, log π_old, A)."""
    return lambda tokens: [rule(*token)[1] for token in tokens]


def luspo(tokens):
    """Slope of GSPO's J with LUSPO's bounds."""
    (found,) = oracle_sequence.gspo([tokens], epsilon_low=2e-3, epsilon_high=2.5e-3)
    return [slope for _, slope in found]


SLOPES = {
    "dr_grpo": each_token(oracle_axes.clipped),
    "rloo": each_token(oracle_axes.reinforce),
    "reinforce_pp": each_token(oracle_axes.clipped),
    "gpg": each_token(oracle_axes.reinforce),
    "luspo": luspo,
}


def share(reduction, length, lengths):
    """Weight of a token of a sequence of `length`, by the definition of the reduction."""
    return {
        None: 1 / sum(lengths),
        "seq-mean-token-mean": 1 / (len(lengths) * length),
        "seq-mean-token-sum": 1 / len(lengths),
        "seq-mean-token-sum-norm": 1 / (len(lengths) * MAX_LENGTH),
    }[reduction]


def sampled():
    """Log-probabilities, old ones and mask of the sequences of LENGTHS, float64."""
    g = torch.Generator().manual_seed(3)
    lengths = torch.tensor(LENGTHS).flatten()[:, None]
    old = -3 * torch.rand(len(lengths), 5, generator=g, dtype=torch.float64)
    new = old + 0.4 * torch.randn(old.shape, generator=g, dtype=torch.float64)
    return new.clamp(max=0), old, torch.arange(5) < lengths


def test_every_method_with_an_axis_of_its_own_is_in_this_table():
    own = {
        name: (kind.advantages, kind.reduction)
        for name, kind in maspo.OBJECTIVES.items()
        if (kind.advantages, kind.reduction) != (None, None)
    }
    assert own == PUBLISHED


@pytest.mark.parametrize("name", SLOPES)
def test_policy_loss_is_the_methods_own(name):
    new, old, mask = sampled()
    advantages = [a for group in ORACLES[PUBLISHED[name][0]]() for a in group]
    lengths = [n for row in LENGTHS for n in row]
    expected = torch.zeros_like(new)
    for i, (a, n) in enumerate(zip(advantages, lengths, strict=True)):
        tokens = [(new[i, t].item(), old[i, t].item(), a) for t in range(n)]
        slopes = torch.tensor(SLOPES[name](tokens), dtype=torch.float64)
        expected[i, :n] = -slopes * share(PUBLISHED[name][1], n, lengths)
    assert expected.count_nonzero() > 5

    objective = maspo.make_objective(name)
    asked = {"lengths": torch.tensor(LENGTHS)} if objective.advantages == "whiten" else {}
    rewards = torch.tensor(REWARDS, dtype=torch.float64)
    found = maspo.estimate_advantages(rewards, objective.advantages or "group", **asked)
    more = {"max_length": MAX_LENGTH} if name == "dr_grpo" else {}
    leaf = new.clone().requires_grad_()
    maspo.policy_loss(leaf, old, found.flatten(), mask, objective=name, **more).loss.backward()
    torch.testing.assert_close(leaf.grad, expected, rtol=1e-10, atol=1e-12)


def test_the_constant_length_is_asked_for():
    new, old, mask = sampled()
    with pytest.raises(maspo.InputError, match="seq-mean-token-sum-norm needs max_length"):
        maspo.policy_loss(new, old, torch.ones(12), mask, objective="dr_grpo")
    for length in (0, -3):
        with pytest.raises(maspo.InputError, match="max_length must be at least 1"):
            maspo.policy_loss(
                new, old, torch.ones(12), mask, objective="dr_grpo", max_length=length
            )


def test_a_method_without_preference_takes_the_mean_over_tokens():
    new, old, mask = sampled()
    leaf = new.clone().requires_grad_()
    maspo.policy_loss(leaf, old, torch.ones(12), mask, objective="cispo").loss.backward()
    expected = -(new - old).exp().clamp(max=5) * mask / sum(n for row in LENGTHS for n in row)
    torch.testing.assert_close(leaf.grad, expected, rtol=1e-10, atol=1e-12)


LOSS_TYPES = {  # TRL's documentation of loss_type
    None: "dapo",
    "seq-mean-token-mean": "grpo",
    "seq-mean-token-sum": "luspo",
    "seq-mean-token-sum-norm": "dr_grpo",
}


def trl_args(tmp_path, **settings):
    """Make a MASPOConfig; the test is skipped where TRL is missing."""
    pytest.importorskip("trl")
    from maspo.engines.trl import MASPOConfig

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MASPOConfig(
            output_dir=str(tmp_path), bf16=False, use_cpu=True, report_to=[], **settings
        )


@pytest.mark.parametrize("name", [*PUBLISHED, "grpo", "maspo", "cispo", "clip_higher"])
def test_trl_gets_the_methods_own(tmp_path, name):
    advantages, reduction = PUBLISHED.get(name, (None, None))
    args = trl_args(tmp_path, objective=name)
    scale = {"center": "none"}.get(advantages, "group")
    assert (args.loss_type, args.advantages, args.scale_rewards) == (
        LOSS_TYPES[reduction], advantages, scale,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"loss_type": "dapo"}, ("dapo", "center", "none")),
        ({"loss_type": "bnpo"}, ("bnpo", "center", "none")),
        ({"scale_rewards": "group"}, ("dr_grpo", None, "group")),
        ({"scale_rewards": True}, ("dr_grpo", None, "group")),
        ({"scale_rewards": False}, ("dr_grpo", None, "none")),
        ({"scale_rewards": "batch"}, ("dr_grpo", None, "batch")),
        ({"advantages": "loo"}, ("dr_grpo", "loo", "group")),
        ({"advantages": "center", "scale_rewards": "none"}, ("dr_grpo", "center", "none")),
    ],
)
def test_what_is_set_in_trl_goes_before_what_the_method_has(tmp_path, given, expected):
    args = trl_args(tmp_path, objective="dr_grpo", **given)
    assert (args.loss_type, args.advantages, args.scale_rewards) == expected


def test_without_a_preference_trls_own_defaults_stay(tmp_path):
    trl = pytest.importorskip("trl")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stock = trl.GRPOConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True, report_to=[])
    args = trl_args(tmp_path, objective="grpo")
    assert (args.loss_type, args.scale_rewards) == (stock.loss_type, stock.scale_rewards)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"advantages": "center", "scale_rewards": "group"}, "decide scale_rewards"),
        ({"advantages": "loo", "scale_rewards": False}, "decide scale_rewards"),
        (
            {"objective": "rloo", "multi_objective_aggregation": "normalize_then_sum"},
            "of the sum of all rewards",
        ),
        ({"objective": "mapso"}, "unknown objective 'mapso'; did you mean 'maspo'"),
        ({"objective": maspo.GRPO}, "objective is the class GRPO; give a name such as 'maspo'"),
        ({"objective": {"name": "grpo"}}, "maspo.make_objective"),
    ],
)
def test_what_contradicts_itself_is_refused_by_the_config(tmp_path, settings, message):
    with pytest.raises(maspo.InputError, match=message):
        trl_args(tmp_path, **settings)


@pytest.mark.parametrize("name", ["dr_grpo", "rloo", "reinforce_pp", "gpg"])
def test_a_rollout_in_trl_has_the_methods_advantages(tmp_path, name):
    pytest.importorskip("trl")
    from test_trl_advantages import ORACLES as IN_TRL
    from test_trl_advantages import rollout
    from test_trl_contract import even_tokens

    trainer, out, ids, lengths = rollout(tmp_path, objective=maspo.make_objective(name))
    rewards = torch.tensor(even_tokens(ids), dtype=torch.float64).view(-1, 4)
    assert maspo.live_groups(rewards).any()
    expected = torch.tensor(IN_TRL[PUBLISHED[name][0]](rewards.tolist(), lengths)).flatten()
    torch.testing.assert_close(out["advantages"].double(), expected.double(), rtol=1e-5, atol=1e-6)
    assert trainer.args.objective == maspo.make_objective(name)


@pytest.mark.parametrize(
    "name", ["bapo", "bapo_released", "clip_cov", "kl_cov", "maspo_calibrated", "maspo_drift"]
)
def test_a_micro_batch_that_a_batch_coupled_objective_cannot_see_past_is_told(tmp_path, name):
    pytest.importorskip("trl")
    from maspo.engines.trl import MASPOConfig

    common = {
        "output_dir": str(tmp_path), "bf16": False, "use_cpu": True, "report_to": [],
        "per_device_train_batch_size": 8,
    }  # fmt: skip
    with pytest.warns(UserWarning, match="sees 8 of the 16 completions of an update at a time"):
        MASPOConfig(objective=name, gradient_accumulation_steps=2, **common)
    with pytest.raises(maspo.InputError, match="make the micro-batch 16"):
        MASPOConfig(objective=name, gradient_accumulation_steps=2, strict=True, **common)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        MASPOConfig(objective=name, gradient_accumulation_steps=1, **common)
        MASPOConfig(objective="grpo", gradient_accumulation_steps=2, **common)


def test_a_plug_in_cannot_name_an_axis_that_is_none():
    from maspo.objectives.plugins import load

    class Point:
        name, value = "odd", "odd:Odd"

        def load(self):
            return self.kind

    for axis, word in (("reduction", "mean"), ("advantages", "gae")):
        point = Point()
        point.kind = type("Odd", (Objective,), {axis: word})
        with pytest.raises(maspo.InputError, match=f"{axis} '{word}'"):
            load(point, "odd-package")
