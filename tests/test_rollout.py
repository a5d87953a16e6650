"""Weights that correct for the sampling engine, against plain Python and by hand."""

import math

import pytest
import torch

import maspo
from maspo import ROLLOUT_MODES, rollout_weights

NAN, INF = math.nan, math.inf


def of_log_x(log_x, mask=None, mode="token_truncate", **bounds):
    """Give the weights where log π_old - log π_roll is `log_x`."""
    log_x = torch.tensor(log_x, dtype=torch.float64)
    old = torch.full_like(log_x, -1.5)
    mask = torch.ones_like(log_x) if mask is None else torch.tensor(mask)
    return rollout_weights(old, old - log_x, mask, mode, **bounds)


def by_hand(mode, log_xs, low, high):
    """Give the weights of the tokens of one sequence, in plain Python."""
    n, xs = len(log_xs), [math.exp(v) for v in log_xs]
    product = math.prod(xs)
    k3 = sum(x - 1 - math.log(x) for x in xs) / n
    level, _, rule = mode.rpartition("_")
    if level == "seq_mean":
        measured = product ** (1 / n) if rule == "k1" else k3
        return [1.0 if low <= measured <= high else 0.0] * n
    measured = xs if level == "token" else [product] * n
    if rule == "truncate":
        return [max(low, min(m, high)) for m in measured]
    return [m if low <= m <= high else 0.0 for m in measured]


DEFAULTS = {
    "token_truncate": (0.0, 2.0),
    "token_mask": (0.5, 5.0),
    "sequence_truncate": (0.0, 2.0),
    "sequence_mask": (0.5, 2.0),
    "seq_mean_k1": (0.999, 1.001),
    "seq_mean_k3": (0.0, 0.01),
}

BOUNDS = {
    "token_truncate": (0.6, 1.5),
    "token_mask": (0.7, 1.6),
    "sequence_truncate": (0.3, 1.2),
    "sequence_mask": (0.4, 1.5),
    "seq_mean_k1": (0.85, 1.1),
    "seq_mean_k3": (0.0, 0.08),
}


def test_defaults_are_verls():
    assert {name: (mode.low, mode.high) for name, mode in ROLLOUT_MODES.items()} == DEFAULTS


@pytest.mark.parametrize("mode", ROLLOUT_MODES)
@pytest.mark.parametrize("given", [False, True])
def test_equal_plain_python(mode, given):
    g = torch.Generator().manual_seed(3)
    spread = 0.4 if given else {"seq_mean_k1": 0.05, "seq_mean_k3": 0.14}.get(mode, 0.4)
    log_x = spread * torch.randn(40, 5, generator=g, dtype=torch.float64)
    lengths = torch.randint(1, 6, (40,), generator=g)
    mask = torch.arange(5) < lengths[:, None]
    old = -torch.rand(40, 5, generator=g, dtype=torch.float64)
    low, high = BOUNDS[mode] if given else DEFAULTS[mode]
    bounds = {"low": low, "high": high} if given else {}
    found = rollout_weights(old, old - log_x, mask.int(), mode, **bounds)
    decided = set()
    for b, n in enumerate(lengths.tolist()):
        expected = by_hand(mode, log_x[b, :n].tolist(), low, high)
        assert found[b, :n].tolist() == pytest.approx(expected, rel=1e-12)
        assert (found[b, n:] == 0).all()
        decided |= {v in (0.0, low, high) for v in expected}
    assert decided == {True, False}, "the case must reach the bounds and stay within them"


def test_numbers_worked_out_by_hand():
    half, two, four = -math.log(2), math.log(2), math.log(4)
    rows = [[half, four, 0.0], [two, two, two]]
    for mode, bounds, expected in (
        ("token_truncate", {"high": 3.0}, [[0.5, 3.0, 1.0], [2.0, 2.0, 2.0]]),
        ("token_mask", {"high": 3.0, "low": 0.6}, [[0.0, 0.0, 1.0], [2.0, 2.0, 2.0]]),
        ("sequence_truncate", {"high": 3.0}, [[2.0, 2.0, 2.0], [3.0, 3.0, 3.0]]),
        ("sequence_mask", {"high": 3.0}, [[2.0, 2.0, 2.0], [0.0, 0.0, 0.0]]),
        ("seq_mean_k1", {"high": 1.9}, [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]),
        # mean(x - 1 - log x): (-0.5 + log 2 + 3 - log 4) / 3 = 0.602, and 1 - log 2 = 0.307.
        ("seq_mean_k3", {"high": 0.5}, [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]),
    ):
        found = of_log_x(rows, mode=mode, **bounds)
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("mode", ROLLOUT_MODES)
def test_equal_engines_need_no_correction(mode):
    assert torch.equal(of_log_x([[0.0, 0.0]], mode=mode), torch.ones(1, 2).double())


@pytest.mark.parametrize("mode", ROLLOUT_MODES)
def test_a_token_the_engine_did_not_score_counts_as_equal(mode):
    old = torch.full((1, 3), -1.0)
    scored = torch.tensor([[-1.2, -1.0, -1.1]])
    unscored = torch.tensor([[-1.2, NAN, -1.1]])
    bounds = {"low": 0.0, "high": 9.0}
    found = rollout_weights(old, unscored, torch.ones(1, 3), mode, **bounds)
    assert found.isfinite().all() and (found > 0).all()
    assert torch.equal(found, rollout_weights(old, scored, torch.ones(1, 3), mode, **bounds))


@pytest.mark.parametrize("mode", ROLLOUT_MODES)
@pytest.mark.parametrize("trash", [NAN, INF, -INF])
def test_what_lies_under_the_mask_changes_nothing(mode, trash):
    old, rollout = torch.full((2, 3), -1.0), torch.full((2, 3), -1.1)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    clean = rollout_weights(old, rollout, mask, mode, high=1.3)
    for spoiled in (
        (old.masked_fill(~mask, trash), rollout),
        (old, rollout.masked_fill(~mask, trash)),
    ):
        assert torch.equal(rollout_weights(*spoiled, mask, mode, high=1.3), clean)
    assert (clean[~mask] == 0).all()


@pytest.mark.parametrize("mode", ROLLOUT_MODES)
def test_logs_are_held_at_20(mode):
    huge = math.exp(20)
    found = of_log_x([[30.0, 30.0], [-30.0, -30.0]], mode=mode, low=0.0, high=INF)
    expected = [1.0, 1.0] if mode.startswith("seq_") else [huge, 1 / huge]
    assert found[:, 0].tolist() == pytest.approx(expected, rel=1e-12)
    old = torch.tensor([[-INF, -1.0, -INF]])
    rollout = torch.tensor([[-1.0, -INF, -INF]])
    found = rollout_weights(old, rollout, torch.ones(1, 3), mode, low=0.0, high=INF)
    if mode.startswith("token"):
        assert found[0].tolist() == pytest.approx([1 / huge, huge, 1.0], rel=1e-6)
    else:
        assert torch.equal(found, torch.ones(1, 3))  # the two impossible tokens cancel


def test_weights_are_detached_and_wide():
    old = torch.full((1, 2), -1.0, dtype=torch.bfloat16, requires_grad=True)
    found = rollout_weights(old, old - 0.5, torch.ones(1, 2))
    assert not found.requires_grad and found.dtype == torch.float32


def test_they_multiply_the_gradient_of_any_objective():
    old = torch.tensor([[-1.0, -2.0, -0.5]], dtype=torch.float64)
    weights = rollout_weights(old, old - torch.tensor([[0.3, 1.0, -0.4]]), torch.ones(1, 3))
    gradients = []
    for given in (None, weights):
        x = (old + 0.1).requires_grad_()
        result = maspo.policy_loss(
            x, old, torch.ones(1), torch.ones(1, 3), objective="maspo", rollout_weights=given
        )
        result.loss.backward()
        gradients.append(x.grad)
    torch.testing.assert_close(gradients[1], gradients[0] * weights, rtol=1e-12, atol=0)
    assert weights.tolist()[0] == pytest.approx([math.exp(0.3), 2.0, math.exp(-0.4)], rel=1e-6)


def test_bad_input_is_refused_in_one_sentence():
    ones = torch.ones(1, 2)
    with pytest.raises(maspo.InputError, match="did you mean 'token_mask'"):
        rollout_weights(ones, ones, ones, "tokn_mask")
    for low, high in ((2.0, 1.0), (-0.1, 1.0), (NAN, 1.0)):
        with pytest.raises(maspo.InputError, match="0 <= low <= high"):
            rollout_weights(ones, ones, ones, low=low, high=high)
    with pytest.raises(ValueError, match="must have one shape"):
        rollout_weights(ones, ones[0], ones)
