"""Every objective against the plain-Python oracle, and the properties all of them share."""

import math
from dataclasses import replace

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import oracle
import pytest
import torch
from cases import ROWS, label
from hypothesis import given, settings

import maspo
from maspo import GRPO, MASPO, SAPO
from maspo.core.batch import MAX_LOG_RATIO, TokenBatch

each_row = pytest.mark.parametrize("row", ROWS, ids=label)


def random_batch(seed, batch=6, time=9, spread=1.0, dtype=torch.float64):
    """Draw (log_probs, old_log_probs, advantages, mask) with ragged rows and one empty row."""
    g = torch.Generator().manual_seed(seed)
    old = -8 * torch.rand(batch, time, generator=g, dtype=torch.float64) ** 2
    log_probs = old + spread * torch.randn(batch, time, generator=g, dtype=torch.float64)
    advantages = torch.randn(batch, generator=g, dtype=torch.float64) * 2
    advantages[1] = 0.0
    lengths = torch.randint(1, time + 1, (batch,), generator=g)
    lengths[2] = 0
    mask = torch.arange(time) < lengths[:, None]
    return log_probs.to(dtype), old.to(dtype), advantages.to(dtype), mask


def loss_and_grad(objective, log_probs, old, advantages, mask, **more):
    """Run `policy_loss` and return it with the gradient by `log_probs`."""
    log_probs = log_probs.clone().requires_grad_()
    result = maspo.policy_loss(log_probs, old, advantages, mask, objective=objective, **more)
    (grad,) = torch.autograd.grad(result.loss, log_probs)
    return replace(result, loss=result.loss.detach()), grad


@each_row
@pytest.mark.parametrize("seed", range(5))
def test_value_and_slope_equal_the_oracle(row, seed):
    log_probs, old, advantages, mask = random_batch(seed)
    result, grad = loss_and_grad(row.objective, log_probs, old, advantages, mask)
    n = int(mask.sum())
    value, slopes = 0.0, torch.zeros_like(grad)
    for b, t in mask.nonzero().tolist():
        j, slope = row.token(
            float(log_probs[b, t]), float(old[b, t]), float(advantages[b]), **row.settings
        )
        value -= j / n
        slopes[b, t] = -slope / n
    assert float(result.loss) == pytest.approx(value, rel=1e-12)
    torch.testing.assert_close(grad, slopes, rtol=1e-12, atol=0)
    torch.testing.assert_close(grad, -result.weights * advantages[:, None] / n, rtol=1e-12, atol=0)


@each_row
def test_sequence_level_is_the_token_rule_on_mean_log_probs(row):
    log_probs, old, advantages, mask = random_batch(7)
    _, grad = loss_and_grad(
        replace(row.objective, level="sequence"), log_probs, old, advantages, mask,
        reduction="seq-mean-token-mean",
    )  # fmt: skip
    rows = int((mask.sum(1) > 0).sum())
    for b in range(len(mask)):
        n = int(mask[b].sum())
        if n:
            parts = log_probs[b, :n].tolist(), old[b, :n].tolist(), float(advantages[b])
            _, slope = oracle.sequence(row.token, *parts, **row.settings)
            assert grad[b, :n].tolist() == pytest.approx([-slope / (n * rows)] * n, rel=1e-11)


@each_row
def test_on_policy_every_gate_is_inert(row):
    log_probs, _, advantages, mask = random_batch(3)
    result, grad = loss_and_grad(row.objective, log_probs, log_probs, advantages, mask)
    assert torch.equal(result.weights, mask.double())
    torch.testing.assert_close(grad, -(advantages[:, None] * mask) / mask.sum())


@each_row
@pytest.mark.parametrize("trash", [math.nan, math.inf, -math.inf])
def test_masked_slots_change_nothing_bitwise(row, trash):
    log_probs, old, advantages, mask = random_batch(4)
    tokens = advantages[:, None].expand_as(log_probs).clone()
    entropies = torch.rand_like(log_probs)
    clean = loss_and_grad(row.objective, log_probs, old, tokens, mask, entropies=entropies)
    spoiled = [x.masked_fill(~mask, trash) for x in (log_probs, old, tokens)]
    dirty = loss_and_grad(
        row.objective, *spoiled, mask.int(),
        entropies=entropies.masked_fill(~mask, trash),
        rollout_weights=torch.ones_like(old).masked_fill(~mask, trash),
    )  # fmt: skip
    assert torch.equal(clean[0].loss, dirty[0].loss)
    assert torch.equal(clean[0].weights, dirty[0].weights)
    assert torch.equal(clean[1], dirty[1])


@each_row
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32_bitwise(row, dtype):
    half = random_batch(5, dtype=dtype)
    single = [x.float() for x in half[:3]]
    low, low_grad = loss_and_grad(row.objective, *half)
    high, high_grad = loss_and_grad(row.objective, *single, half[3])
    assert torch.equal(low.loss, high.loss) and low.loss.dtype == torch.float32
    assert torch.equal(low_grad, high_grad.to(dtype))


@each_row
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_impossible_probabilities_give_finite_gradients(row, dtype):
    extremes = torch.tensor([-math.inf, math.log(1e-30), -1e4, -1e-3, 0.0])
    log_probs, old = (
        x.flatten()[None].to(dtype) for x in torch.meshgrid(extremes, extremes, indexing="ij")
    )
    mask = torch.ones_like(log_probs)
    for advantage in (-3.0, 0.0, 3.0):
        for level in ("token", "sequence"):
            result, grad = loss_and_grad(
                replace(row.objective, level=level), log_probs, old,
                torch.tensor([advantage], dtype=dtype), mask,
            )  # fmt: skip
            assert result.weights.isfinite().all() and result.loss.isfinite()
            # A weight beyond float16's 65504 belongs to float16, not to the objective.
            assert grad.isfinite().all() or dtype == torch.float16


def test_no_gradient_for_a_token_whose_ratio_left_the_bounds():
    old = torch.full((1, 2), -30.0)
    log_probs = old + torch.tensor([[MAX_LOG_RATIO - 0.1, MAX_LOG_RATIO + 0.1]])
    result, _ = loss_and_grad(MASPO(), log_probs, old, -torch.ones(1), torch.ones(1, 2))
    assert result.weights[0, 0] > 1e8 and result.weights[0, 1] == 0


@pytest.mark.parametrize("objective", [GRPO(), GRPO(cap=3.0), SAPO()], ids=repr)
def test_gradcheck_where_the_gradient_is_that_of_the_value(objective):
    log_probs, old, advantages, mask = random_batch(8)
    assert torch.autograd.gradcheck(
        lambda x: maspo.policy_loss(x, old, advantages, mask, objective=objective).loss,
        log_probs.requires_grad_(),
    )


def test_maspos_weight_is_the_slope_of_an_erf_surrogate():
    """J = (1 + σ√(π/2) erf((ρ-1)/σ√2)) A has the gradient that MASPO takes, gate and all."""
    old, advantage = math.log(0.3), 1.7
    width = oracle.maspo_width(old, advantage)

    def surrogate(l):
        x = (math.exp(l - old) - 1) / (width * math.sqrt(2))
        return (1 + width * math.sqrt(math.pi / 2) * math.erf(x)) * advantage

    for shift in (0.1, 0.5, 1.1):
        slope = (surrogate(old + shift + 1e-6) - surrogate(old + shift - 1e-6)) / 2e-6
        tokens = [torch.tensor([[x]], dtype=torch.float64) for x in (old + shift, old, advantage)]
        weights = maspo.policy_loss(*tokens, torch.ones(1, 1), objective="maspo").weights
        assert float(weights) * advantage == pytest.approx(slope, rel=1e-8)


finite_logs = hnp.arrays(np.float64, (3, 4), elements=st.floats(-12, 0))
shifts = hnp.arrays(np.float64, (3, 4), elements=st.floats(-4, 4))
signed = hnp.arrays(np.float64, (3,), elements=st.floats(-5, 5))


@each_row
@settings(max_examples=40, deadline=None)
@given(old=finite_logs, shift=shifts, advantages=signed)
def test_gates_only_hold_back_and_only_on_their_side(row, old, shift, advantages):
    old, shift, advantages = (torch.from_numpy(x) for x in (old, shift, advantages))
    mask = torch.ones(3, 4)
    objective = row.objective
    weights = maspo.policy_loss(old + shift, old, advantages, mask, objective=objective).weights
    ratio = ((old + shift) - old).exp()
    gate = weights / ratio
    assert ((gate >= 0) & (gate <= 1 + 1e-12)).all()
    if not objective.two_sided and objective.cap is None:
        against = advantages[:, None] * (ratio - 1) <= 0
        assert torch.equal(weights[against], ratio[against])


@settings(max_examples=50, deadline=None)
@given(old=finite_logs, advantages=signed, alpha=st.floats(0, 1))
def test_rarer_tokens_never_get_a_narrower_gate(old, advantages, alpha):
    rare = torch.from_numpy(old)
    objective = MASPO(alpha=alpha)
    widths = [
        objective.width(TokenBatch.clean(x, x, torch.from_numpy(advantages), torch.ones(3, 4)))
        for x in (rare, rare / 2)
    ]
    assert (widths[0] >= widths[1]).all()


def test_bad_shapes_are_refused():
    ones = torch.ones(2, 3)
    with pytest.raises(ValueError, match="log_probs must be"):
        maspo.policy_loss(ones[0], ones[0], ones[0], ones[0], objective="grpo")
    with pytest.raises(ValueError, match=r"advantages must be \[2, 3\], not \[3\]"):
        maspo.policy_loss(ones, ones, torch.ones(3), ones, objective="grpo")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("mapso", {}, "did you mean 'maspo'"),
        ("maspo", {"alhpa": 0.3}, "did you mean 'alpha'"),
        ("maspo", {"sigma_base": -1}, r"sigma_base \(σ_base\) of MASPO must be > 0, not -1"),
        ("maspo", {"alpha": 1.5}, "must be 0 to 1"),
        ("maspo", {"alpha": math.nan}, "must be 0 to 1"),
        ("maspo", {"alpha": "0.3"}, "must be 0 to 1"),
        ("maspo", {"sigma_high": 0.5}, "must not be below sigma_base"),
        ("maspo", {"adv_low": 11.0}, "must not exceed adv_high"),
        ("maspo", {"shape": "sech2"}, "must be gaussian or hard"),
        ("grpo", {"cap": 1.0}, "must be > 1, or none"),
        ("sapo", {"two_sided": 1}, "must be true or false"),
    ],
)
def test_bad_hyperparameters_are_refused_in_one_sentence(name, settings, message):
    with pytest.raises(maspo.InputError, match=message):
        maspo.make_objective(name, **settings)


def test_advice_of_the_release_is_given():
    assert MASPO().advice() == []
    assert "0.8" in MASPO(alpha=0.8).advice()[0]
    assert "0.3 to 0.5" in MASPO(alpha=0.1).advice()[0]
    assert "1.5B" in MASPO().advice(parameters=1_700_000_000)[0]
    assert MASPO(alpha=0.5).advice(parameters=1_700_000_000) == []


def test_every_objective_has_a_row_and_a_source():
    for kind in maspo.OBJECTIVES.values():
        assert any(type(row.objective) is kind for row in ROWS)
        assert f"arXiv:{kind.arxiv}" in (kind.__doc__ or "")
