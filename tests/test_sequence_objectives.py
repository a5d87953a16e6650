"""What the objectives of whole sequences have besides what all share."""

import math

import oracle_sequence
import pytest
import torch
from test_objectives import loss_and_grad, random_batch

import maspo
from maspo import make_objective
from maspo.core.batch import TokenBatch


def clean(log_probs, old, advantages, mask):
    """Make the batch an objective sees."""
    return TokenBatch.clean(log_probs, old, advantages, mask)


def as_lists(log_probs, old, advantages, mask):
    """Write a batch as the oracles take it."""
    advantages = advantages.reshape(len(advantages), -1).expand_as(log_probs)
    rows = zip(torch.stack([log_probs, old, advantages], 2), mask.bool(), strict=True)
    return [row[live].tolist() for row, live in rows]


def weights_of(objective, batch, **more):
    """Run the loss for its weights."""
    return maspo.policy_loss(*batch, objective=objective, reduction="token-mean", **more).weights


# Advantages of tokens


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gspo", {"epsilon_low": 0.1, "epsilon_high": 0.2}),
        ("gspo", {"epsilon_low": 0.1, "epsilon_high": 0.2, "cap": 1.2}),
        ("gspo_token", {"epsilon_low": 0.1, "epsilon_high": 0.2, "cap": 1.2}),
        ("gmpo", {"cap": 1.2}),
        ("vespo", {}),
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_advantages_that_differ_along_a_sequence(name, settings, seed):
    log_probs, old, _, mask = random_batch(seed)
    g = torch.Generator().manual_seed(seed)
    advantages = torch.randn(log_probs.shape, generator=g, dtype=torch.float64) + 0.3
    result, grad = loss_and_grad(make_objective(name, **settings), log_probs, old, advantages, mask)
    batch = as_lists(log_probs, old, advantages, mask)
    found = [x for row in getattr(oracle_sequence, name)(batch, **settings) for x in row]
    values, slopes = torch.tensor(found, dtype=torch.float64).T
    assert float(result.loss) == pytest.approx(float(-values.mean()), rel=1e-12)
    torch.testing.assert_close(grad[mask], -slopes / len(slopes), rtol=1e-10, atol=1e-15)


# Relations and limits


def test_luspo_is_gspo_times_the_length():
    batch = random_batch(1)
    narrow = {"epsilon_low": 0.05, "epsilon_high": 0.1}
    one = loss_and_grad(make_objective("gspo", **narrow), *batch, reduction="seq-mean-token-mean")
    many = loss_and_grad(make_objective("luspo", **narrow), *batch, reduction="seq-mean-token-sum")
    torch.testing.assert_close(many[1], one[1] * batch[3].sum(1, keepdim=True))
    assert maspo.OBJECTIVES["luspo"].reduction == "seq-mean-token-sum"


@pytest.mark.parametrize(
    "objective",
    [
        make_objective("gspo", epsilon_low=0.1, epsilon_high=0.2),
        make_objective("gmpo"),
        make_objective("gmpo", cap=1.1),
        make_objective("kl_cov", fraction=0.3),
    ],
    ids=str,
)
def test_gradient_is_that_of_the_mean_over_sequences(objective):
    log_probs, old, advantages, mask = random_batch(8)
    reduction = "token-mean" if objective.couples_batch else "seq-mean-token-mean"

    def loss(x):
        return maspo.policy_loss(
            x, old, advantages, mask, objective=objective, reduction=reduction
        ).loss

    assert torch.autograd.gradcheck(loss, log_probs.requires_grad_())


@pytest.mark.parametrize(
    ("advantage", "peak", "height"), [(1.0, 2 / 3, 4 / 9 * math.e), (-1.0, 3 / 2, 27 / 8 / math.e)]
)
def test_vespos_weight_peaks_beside_the_old_policy(advantage, peak, height):
    log_w = torch.linspace(-2, 2, 4001, dtype=torch.float64)[:, None]
    advantages = torch.full((4001,), advantage, dtype=torch.float64)
    weights = weights_of("vespo", (log_w - 2, log_w * 0 - 2, advantages, log_w == log_w))
    assert float(log_w[weights.argmax()].exp()) == pytest.approx(peak, rel=1e-3)
    assert float(weights.max()) == pytest.approx(height, rel=1e-6)


def test_vespo_forgets_long_sequences_that_drift():
    drift = torch.full((2, 1000), 0.01, dtype=torch.float64) * torch.tensor([[1.0], [-1.0]])
    mask = torch.ones(2, 1000)
    weights = weights_of("vespo", (drift - 1, drift * 0 - 1, torch.ones(2), mask))
    assert weights.max() < 1e-7
    one_percent = weights_of("gspo_token", (drift - 1, drift * 0 - 1, -torch.ones(2), mask))
    assert one_percent[0, 0] == pytest.approx(math.exp(0.01))


def test_vespo_holds_tokens_and_sequences_at_the_bound():
    drift = torch.tensor([[30.0, -25.0, 0.0], [1.5, 1.5, 1.5]], dtype=torch.float64)
    old = torch.full_like(drift, -40.0)
    batch = old + drift, old, torch.ones(2), torch.ones(2, 3)
    assert weights_of("vespo", batch)[0].tolist() == [1.0] * 3  # 30 and -25 count as 20 and -20
    weights = weights_of(make_objective("vespo", max_log_ratio=2.0), batch)
    w = math.exp(2.0)  # and not of 4.5
    assert weights[1].tolist() == pytest.approx([w**2 * math.exp(3 - 3 * w)] * 3, rel=1e-12)


def test_the_cap_of_vespo_bounds_the_ratio_of_the_sequence():
    drift = torch.tensor([[0.3, 0.3, 0.3], [0.9, -0.6, 0.0]], dtype=torch.float64)
    batch = drift - 2, drift * 0 - 2, -torch.ones(2), torch.ones(2, 3)
    weights = weights_of(make_objective("vespo", cap=2.0), batch)  # W is 2.46 and 1.35
    assert (weights[0] == 0).all() and (weights[1] > 1).all()


@pytest.mark.parametrize("name", ["gspo", "gspo_token", "luspo", "gmpo"])
def test_no_gradient_for_a_sequence_whose_ratio_left_the_bounds(name):
    drift = torch.tensor([[19.0, 20.5], [19.0, 21.5]], dtype=torch.float64)
    batch = drift - 40, drift * 0 - 40, -torch.ones(2), torch.ones(2, 2)
    result, grad = loss_and_grad(make_objective(name), *batch)
    assert result.weights[0].tolist() == pytest.approx([math.exp(19.75)] * 2)
    assert (result.weights[1] == 0).all() and (grad[1] == 0).all()


@pytest.mark.parametrize("name", ["bapo", "bapo_released", "clip_cov", "kl_cov"])
def test_no_gradient_for_a_token_whose_ratio_left_the_bounds(name):
    drift = torch.tensor([[19.0, 21.0, 0.1]], dtype=torch.float64)
    batch = drift - 40, drift * 0 - 40, -torch.ones(1), torch.ones(1, 3)
    settings = {"kl_cov": {"fraction": 1.0}, "bapo_released": {"cap": None}}
    result, grad = loss_and_grad(make_objective(name, **settings.get(name, {})), *batch)
    assert (result.weights[0] == 0).tolist() == [False, True, False]
    assert (grad[0] == 0).tolist() == [False, True, False]
