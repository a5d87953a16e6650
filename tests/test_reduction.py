"""Reductions against hand arithmetic, and their invariance to how a batch is cut."""

import pytest
import torch

import maspo
from maspo.core.batch import TokenBatch
from maspo.core.diagnostics import Mean, gate_metrics, order_statistics
from maspo.core.objective import Terms
from maspo.core.reduction import reduce_tokens

MASK = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]]).bool()
LENGTH = {"seq-mean-token-sum-norm": 5}
COUNTS = {"token-mean": 6}


@pytest.mark.parametrize(
    ("reduction", "rows"),
    [
        ("token-mean", [1 / 6, 1 / 6, 0, 1 / 6]),
        ("seq-mean-token-mean", [1 / 6, 1 / 3, 0, 1 / 9]),
        ("seq-mean-token-sum", [1 / 3, 1 / 3, 0, 1 / 3]),
        ("seq-mean-token-sum-norm", [1 / 15, 1 / 15, 0, 1 / 15]),
    ],
)
def test_weight_of_a_token_by_hand(reduction, rows):
    values = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
    reduce_tokens(values * MASK, MASK, reduction, max_length=LENGTH.get(reduction)).backward()
    weights = values.grad
    expected = torch.tensor(rows, dtype=torch.float64)[:, None] * MASK
    torch.testing.assert_close(weights, expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("reduction", maspo.REDUCTIONS)
def test_an_empty_batch_gives_zero_not_nan(reduction):
    x = torch.zeros(2, 3, requires_grad=True)
    result = maspo.policy_loss(
        x, x.detach(), torch.ones(2), torch.zeros(2, 3), objective="grpo", reduction=reduction,
        max_length=LENGTH.get(reduction),
    )  # fmt: skip
    result.loss.backward()
    assert result.loss == 0 and not x.grad.any()


@pytest.mark.parametrize("reduction", maspo.REDUCTIONS)
@pytest.mark.parametrize("split", [[1] * 8, [3, 5], [2, 2, 4], [7, 1]])
def test_micro_batches_with_the_global_count_equal_the_whole(reduction, split):
    g = torch.Generator().manual_seed(0)
    old, log_probs = (-torch.rand(8, 6, generator=g, dtype=torch.float64) * 3 for _ in range(2))
    advantages = torch.randn(8, generator=g, dtype=torch.float64)
    mask = torch.arange(6) < torch.tensor([6, 1, 3, 0, 2, 5, 4, 1])[:, None]
    count = 22 if reduction == "token-mean" else 7

    def grad_of(rows, denominator):
        x = log_probs[rows].clone().requires_grad_()
        result = maspo.policy_loss(
            x, old[rows], advantages[rows], mask[rows], objective="maspo", reduction=reduction,
            denominator=denominator, max_length=LENGTH.get(reduction),
        )  # fmt: skip
        return torch.autograd.grad(result.loss, x)[0], result.metrics

    whole, metrics = grad_of(slice(None), None)
    parts = [grad_of(rows, count) for rows in torch.arange(8).split(split)]
    torch.testing.assert_close(torch.cat([grad for grad, _ in parts]), whole, rtol=1e-14, atol=0)
    for name in ("maspo/gate_mean", "maspo/gate_mean_neg", "maspo/grad_mass_vs_clip"):
        pooled = sum((m[name] for _, m in parts[1:]), start=parts[0][1][name])
        assert float(pooled) == pytest.approx(float(metrics[name]), rel=1e-12)


def test_the_constant_length_belongs_to_one_reduction():
    with pytest.raises(maspo.InputError, match="seq-mean-token-sum-norm needs max_length"):
        reduce_tokens(MASK.double(), MASK, "seq-mean-token-sum-norm")
    with pytest.raises(maspo.InputError, match="token-mean has no use for max_length"):
        reduce_tokens(MASK.double(), MASK, "token-mean", max_length=5)
    with pytest.raises(maspo.InputError, match="did you mean 'token-mean'"):
        reduce_tokens(MASK.double(), MASK, "tokenmean")


def test_gate_metrics_by_hand():
    """Four tokens: ratio 2 and 0.5 with A = 2, ratio 0.5 with A = -1, and one without advantage."""
    ratio = torch.tensor([[2.0, 0.5, 0.5, 3.0]])
    old = torch.tensor([[0.05, 0.5, 0.95, 0.5]]).log()
    advantages = torch.tensor([[2.0, 2.0, -1.0, 0.0]])
    batch = TokenBatch.clean(old + ratio.log(), old, advantages, torch.ones(1, 4))
    weights = torch.tensor([[1.0, 0.5, 0.25, 3.0]])
    widths = torch.tensor([[3.0, 1.0, 2.0, 9.0]])
    found = gate_metrics(
        batch, Terms(weights=weights, surrogate=weights, ratios=ratio, widths=widths)
    )
    expected = {
        "gate_mean": (0.5 + 1 + 0.5) / 3,
        "gate_mean_pos": 0.75,
        "gate_mean_neg": 0.5,
        "gate_active": 2 / 3,
        "ratio_mean": 1.0,
        "ratio_p99": 2.0,
        "effective_ratio_mean": 1.75 / 3,
        "grad_mass_vs_clip": (2 * 1 + 2 * 0.5 + 0.25) / (2 * 0.5),
        "gate_mean_prob_low": 0.5,
        "gate_mean_prob_mid": 1.0,
        "gate_mean_prob_high": 0.5,
        "width_p10": 1.0,
        "width_p50": 2.0,
        "width_p90": 3.0,
    }
    assert {k: pytest.approx(v, rel=1e-6) for k, v in expected.items()} == {
        k.removeprefix("maspo/"): float(v) for k, v in found.items()
    }


def test_gate_metrics_of_many_tokens_are_the_means_and_ranks_of_the_tokens_they_name():
    g = torch.Generator().manual_seed(2)
    old = -4 * torch.rand(64, 300, generator=g) ** 3
    new = old + 0.3 * torch.randn(64, 300, generator=g)
    advantages = torch.randn(64, generator=g).where(torch.arange(64) % 4 > 0, 0)
    mask = torch.rand(64, 300, generator=g) < 0.7
    batch = TokenBatch.clean(new.where(mask, torch.nan), old, advantages, mask)
    terms = maspo.MASPO().terms(batch)
    found = gate_metrics(batch, terms)
    a = advantages[:, None].expand(64, 300)
    live, q, ratio = mask & (a != 0), old.double().exp(), (new - old).double().exp()
    gate = terms.weights.double() / ratio
    where = {
        "": live, "_pos": live & (a > 0), "_neg": live & (a < 0), "_prob_low": live & (q < 0.1),
        "_prob_mid": live & (q >= 0.1) & (q < 0.9), "_prob_high": live & (q >= 0.9),
    }  # fmt: skip
    for name, tokens in where.items():
        mean = found[f"maspo/gate_mean{name}"]
        assert int(mean.weight) == int(tokens.sum()) > 100
        assert float(mean) == pytest.approx(float(gate[tokens].mean()), rel=1e-5), name
    for name, values, level in [
        ("ratio_p99", batch.ratio, 0.99), *((f"width_p{p}", terms.widths, p / 100) for p in (10, 50, 90))
    ]:  # fmt: skip
        ordered = sorted(values[live].tolist())
        expected = ordered[round(level * len(ordered)) - 1]
        assert float(found[f"maspo/{name}"]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["spread", "equal", "signs", "few_bits"])
def test_ranks_are_those_of_the_sorted_values(kind, dtype):
    g = torch.Generator().manual_seed(3)
    values = {
        "spread": torch.randn(9000, generator=g, dtype=dtype).exp(),
        "equal": torch.ones(9000, dtype=dtype),
        "signs": torch.cat([torch.randn(8999, generator=g, dtype=dtype), -torch.ones(1) * torch.inf]),
        "few_bits": 1 + 1e-6 * torch.rand(9000, generator=g, dtype=dtype),
    }[kind].to(dtype)  # fmt: skip
    ranks, ordered = [1, 2, 900, 4500, 8999, 9000], sorted(values.tolist())
    found = order_statistics(values, ranks)
    assert [x.item() for x in found] == [ordered[rank - 1] for rank in ranks]


def test_a_mean_of_nothing_is_nan():
    empty = Mean(torch.zeros(()), torch.zeros(()))
    assert float(empty) != float(empty)
