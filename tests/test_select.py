"""Choosing token by token: equal to torch.where to the last bit, whatever lies on the other side."""

import pytest
import torch
from test_objectives import each_row, entropies_for, groups_for, random_batch

from maspo.core import select
from maspo.core.apply import apply_objective
from maspo.core.batch import TokenBatch
from maspo.core.select import choose, only, only_, pick, prepared

SPECIAL = [0.0, -0.0, 1.5, -3e38, 1e-45, float("inf"), float("-inf"), float("nan")]


def bits(x):
    return x.view(torch.int32 if x.dtype == torch.float32 else torch.int64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_only_and_choose_are_where(dtype):
    yes = torch.tensor(SPECIAL, dtype=dtype).repeat_interleave(8).view(8, 8)
    no = torch.tensor(SPECIAL, dtype=dtype).repeat(8).view(8, 8)
    for condition in (torch.arange(64).view(8, 8) % 3 == 0, torch.ones(8, 8).bool()):
        expected = torch.where(condition, yes, no)
        assert torch.equal(bits(choose(condition, yes, no)), bits(expected))
        alone = torch.where(condition, yes, torch.zeros((), dtype=dtype))
        for mask in (condition, prepared(condition, yes)):
            own = yes.clone()
            assert torch.equal(bits(only_(own, mask)), bits(alone))
            assert torch.equal(bits(only(yes, mask)), bits(alone))


def test_shapes_are_broadcast():
    rows, full = torch.tensor([[True], [False]]), torch.arange(6.0).view(2, 3)
    assert only(full, rows).tolist() == [[0, 1, 2], [0, 0, 0]]
    assert only(full[:, :1], full > 1).tolist() == [[0, 0, 0], [3, 3, 3]]
    assert only(full[:1, :1].expand(2, 3), prepared(full > 1, full)).tolist() == [[0] * 3] * 2
    assert choose(rows, full, full[:, :1]).tolist() == [[0, 1, 2], [3, 3, 3]]
    assert full.tolist() == [[0, 1, 2], [3, 4, 5]]  # nothing is done in place to what was given


@pytest.mark.parametrize(
    ("given", "wide"),
    [(torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.float64,) * 2],
)
def test_half_precision_is_widened(given, wide):
    mask = torch.tensor([True, False])
    x = torch.tensor([0.1, 7.0], dtype=given)
    for result in (
        only(x, mask),
        only(x, prepared(mask, x)),
        choose(mask, x, x.new_zeros(2).to(wide)),
    ):
        assert result.dtype == wide
        assert result.tolist() == [x[0].item(), 0.0]


def test_a_number_is_picked_in_the_precision_of_the_tensor():
    like = torch.zeros(2, dtype=torch.float64)
    assert pick(torch.tensor([True, False]), 0.1, 0.2, like).tolist() == [0.1, 0.2]


def test_the_result_has_no_gradient():
    x = torch.ones(2, requires_grad=True)
    assert not only(x, torch.tensor([True, False])).requires_grad
    assert not choose(torch.tensor([True, False]), x, x).requires_grad


@each_row
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_branch_of_gpus_gives_the_same_bits(row, dtype, monkeypatch):
    """Run on a CPU, with ratios out of bounds and rubbish under the mask among the tokens."""
    log_probs, old, advantages, mask = random_batch(12, dtype=dtype)
    log_probs[0, 0], old[0, 1] = -40.0, -60.0
    log_probs[~mask], old[~mask] = torch.nan, torch.inf
    found = []
    for branch in (False, True):
        monkeypatch.setattr(select, "by_kernel", lambda x, branch=branch: branch)
        batch = TokenBatch.clean(
            log_probs,
            old,
            advantages,
            mask,
            entropies=entropies_for(log_probs),
            groups=groups_for(log_probs),
        )
        applied = apply_objective(row.objective, batch)
        totals = torch.stack(
            [mean.total.to(batch.log_probs) for mean in applied.metrics().values()]
        )
        found.append([applied.weights, applied.slopes, applied.values, totals])
    for cpu, gpu in zip(*found, strict=True):
        assert torch.equal(bits(cpu), bits(gpu))
