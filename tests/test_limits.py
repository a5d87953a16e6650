"""Where one objective turns into another, and what no split or order of a batch may change."""

import pytest
import torch
from cases import ROWS, label
from test_objectives import entropies_for, groups_for, loss_and_grad, random_batch

from maspo import make_objective


def slopes(objective, batch):
    """Give dJ/dlog π of every token, by the gradient of the sum."""
    return -loss_and_grad(objective, *batch, denominator=1.0)[1]


def close(left, right, rtol=1e-12):
    torch.testing.assert_close(left, right, rtol=rtol, atol=1e-15)


WIDE = {"sigma_base": 1e9, "sigma_high": None, "adv_low": None, "adv_high": None}


@pytest.mark.parametrize("name", ["maspo", "maspo_no_mass", "maspo_no_risk", "maspo_hard"])
def test_without_a_bound_maspo_is_the_importance_weighted_gradient(name):
    batch = log_probs, old, advantages, mask = random_batch(3)
    expected = torch.where(mask, (log_probs - old).exp() * advantages[:, None], 0.0)
    close(slopes(make_objective(name, **WIDE), batch), expected)
    assert not torch.allclose(slopes(make_objective(name), batch), expected)


def test_without_mass_and_risk_maspo_is_one_gaussian():
    batch = log_probs, old, advantages, mask = random_batch(4)
    ratio, a = (log_probs - old).exp(), advantages[:, None]
    gaussian = torch.exp(-((ratio - 1) ** 2) / (2 * 0.7**2))
    expected = torch.where(a * (ratio - 1) > 0, gaussian, 1.0) * ratio * a
    plain = make_objective("maspo", alpha=0, beta_pos=0, beta_neg=0, sigma_base=0.7)
    close(slopes(plain, batch), torch.where(mask, expected, 0.0))


def test_ce_gppo_that_keeps_nothing_is_ppo():
    batch = random_batch(5)
    none_kept = make_objective("ce_gppo", beta1=0, beta2=0, epsilon_high=0.28, cap=None)
    ppo = make_objective("grpo", epsilon_high=0.28)
    close(slopes(none_kept, batch), slopes(ppo, batch))


def test_gspo_and_its_token_form_agree_on_one_advantage_a_sequence():
    batch = random_batch(6, spread=0.001)
    found = slopes(make_objective("gspo"), batch)
    close(found, slopes(make_objective("gspo_token"), batch))
    cut = (found == 0) & batch[3] & (batch[2][:, None] != 0)
    assert cut.any() and not cut.all()


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_the_order_of_the_rows_changes_nothing(row):
    batch = random_batch(7)
    order, mask = torch.tensor([4, 2, 5, 0, 3, 1]), batch[3]
    given = {"entropies": entropies_for(batch[0])}
    _, grad = loss_and_grad(row.objective, *batch, **given)
    _, moved = loss_and_grad(
        row.objective,
        *(x[order] for x in batch),
        entropies=given["entropies"][order],
        groups=groups_for(mask)[order],
    )
    close(moved, grad[order], rtol=1e-10)


@pytest.mark.parametrize("reduction", ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum"])
@pytest.mark.parametrize("row", [row for row in ROWS if not row.objective.couples_batch], ids=label)
def test_micro_batches_add_up_to_the_whole(row, reduction):
    batch = random_batch(8)
    entropies, mask = entropies_for(batch[0]), batch[3]
    counted = mask.sum() if reduction == "token-mean" else mask.any(1).sum()
    common = {"reduction": reduction, "denominator": counted}
    whole, grad = loss_and_grad(row.objective, *batch, entropies=entropies, **common)
    for cuts in ([1, 5], [2, 2, 2], [1] * 6):
        parts = [
            loss_and_grad(row.objective, *part, entropies=own, **common)
            for *part, own in zip(*(x.split(cuts) for x in (*batch, entropies)), strict=True)
        ]
        close(torch.cat([g for _, g in parts]), grad, rtol=1e-10)
        close(sum(result.loss for result, _ in parts), whole.loss, rtol=1e-10)
