"""Estimators of the divergence from the reference, and the term that `policy_loss` adds."""

import math

import numpy as np
import pytest
import torch

import maspo
from maspo import GRPO, KL
from maspo.core.batch import TokenBatch

CASES = [*map(str, range(12)), "grid"]
ESTIMATORS = ["k1", "k2", "k3", "k1+", "k3+", "abs"]


def terms(kl, log_probs, ref, old=None):
    """Give value and slope on rows of tokens."""
    log_probs, ref = (torch.as_tensor(x, dtype=torch.float64) for x in (log_probs, ref))
    old = log_probs if old is None else torch.as_tensor(old, dtype=torch.float64)
    mask = torch.ones_like(log_probs)
    return kl.terms(TokenBatch.clean(log_probs, old, torch.ones_like(mask), mask), ref)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_equal_verls(shared, estimator):
    golden = np.load(shared / "golden" / "golden.npz")
    kl = KL(estimator=estimator, max_value=10.0 if estimator.startswith("k3") else None)
    held = 0
    for case in CASES:
        log_probs, ref = golden[f"in/{case}/log_prob"], golden[f"in/{case}/old_log_prob"]
        found = terms(kl, log_probs, ref)
        for name, tensor in zip(("value", "grad"), found, strict=True):
            expected = golden[f"out/verl091/kl_{estimator}/per-token/{case}/{name}"]
            torch.testing.assert_close(
                tensor, torch.from_numpy(expected), rtol=1e-10, atol=1e-14,
                msg=lambda m, where=f"{case} {name}": f"{where}: {m}",
            )  # fmt: skip
        held += int((found[0] == 10).sum())
    assert held or kl.max_value is None


@pytest.mark.parametrize("corrected", [False, True])
def test_equal_trls_penalty(shared, corrected):
    golden = np.load(shared / "golden" / "golden.npz")
    key = "grpo_kl_corrected" if corrected else "grpo_kl"
    for case in CASES:
        given = {
            name: torch.from_numpy(golden[f"in/{case}/{name}"])
            for name in ("log_prob", "old_log_prob", "advantages", "mask")
        }
        log_probs = given["log_prob"].clone().requires_grad_()
        result = maspo.policy_loss(
            log_probs, given["old_log_prob"], given["advantages"], given["mask"],
            objective=GRPO(epsilon_high=0.28), reduction="seq-mean-token-mean",
            ref_log_probs=given["old_log_prob"], kl=KL(coef=0.04, bias_correction=corrected),
        )  # fmt: skip
        result.loss.backward()
        out = f"out/trl1160/{key}/seq-mean-token-mean/{case}"
        assert float(result.loss.detach()) == pytest.approx(float(golden[f"{out}/loss"]), rel=1e-10)
        expected = torch.from_numpy(golden[f"{out}/grad"])
        torch.testing.assert_close(
            log_probs.grad,
            expected,
            rtol=1e-10,
            atol=1e-14,
            msg=lambda m, case=case: f"{case}: {m}",
        )


def test_numbers_worked_out_by_hand():
    """π = 0.5 and π_ref = 0.25, so x = -log 2; π_old = 0.25, so ρ = 2."""
    log2 = math.log(2)
    k3 = 0.5 + log2 - 1
    for estimator, value, slope in (
        ("k1", log2, 1.0),
        ("k2", log2**2 / 2, log2),
        ("k3", k3, 0.5),
        ("abs", log2, 1.0),
        ("k1+", log2, log2),
        ("k3+", k3, log2),
    ):
        tokens = [[math.log(0.5)]], [[math.log(0.25)]]
        found = terms(KL(estimator=estimator), *tokens)
        assert [float(x) for x in found] == pytest.approx([value, slope], rel=1e-12), estimator
        if not estimator.endswith("+"):
            corrected = KL(estimator=estimator, bias_correction=True)
            found = terms(corrected, *tokens, old=[[math.log(0.25)]])
            assert [float(x) for x in found] == pytest.approx([2 * value, 2 * (value + slope)])


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3", "abs"])
def test_slopes_are_the_derivatives_of_the_values(estimator, corrected):
    g = torch.Generator().manual_seed(0)
    log_probs, ref, old = -3 * torch.rand(3, 2, 4, generator=g, dtype=torch.float64)
    kl, step = KL(estimator=estimator, bias_correction=corrected), 1e-6
    up, down = (terms(kl, log_probs + d, ref, old)[0] for d in (step, -step))
    _, slope = terms(kl, log_probs, ref, old)
    torch.testing.assert_close(slope, (up - down) / (2 * step), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("off_policy", [False, True])
def test_which_gradients_are_that_of_the_divergence(off_policy):
    """Sum over a whole vocabulary: Σ π_old K' ∇log π against ∇ KL(π, π_ref), of three tokens."""
    logits = torch.tensor([0.3, -1.0, 0.8], dtype=torch.float64, requires_grad=True)
    ref = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64).log()
    log_probs = logits.log_softmax(0)
    sampled = torch.tensor([0.2, 0.5, 0.3]).double() if off_policy else log_probs.detach().exp()
    exact = (log_probs.exp() * (log_probs - ref)).sum()
    (truth,) = torch.autograd.grad(exact, logits, retain_graph=True)
    right = {}
    for estimator in ESTIMATORS:
        for corrected in {False, not estimator.endswith("+")}:
            kl = KL(estimator=estimator, bias_correction=corrected)
            _, slope = terms(kl, log_probs.detach()[None], ref[None], old=sampled.log()[None])
            (gradient,) = torch.autograd.grad(
                (sampled * slope[0] * log_probs).sum(), logits, retain_graph=True
            )
            right[estimator, corrected] = torch.allclose(gradient, truth, rtol=1e-9, atol=1e-12)
    expected = {("k3", True), ("k1", True)}
    expected |= set() if off_policy else {("k2", False), ("k1+", False), ("k3+", False)}
    assert {key for key, ok in right.items() if ok} == expected


def test_clamps():
    tokens = [[-25.0, -3.0, -3.0]], [[-1.0, -0.4, -40.0]]  # x = 24, 2.6 and -37
    value, slope = terms(KL(), *tokens)
    wanted = [math.exp(20) - 21, math.exp(2.6) - 3.6, math.exp(-20) + 19]
    assert value[0].tolist() == pytest.approx(wanted, rel=1e-12)
    assert slope[0].tolist() == pytest.approx([0.0, 1 - math.exp(2.6), 0.0], rel=1e-12)
    value, slope = terms(KL(max_value=10.0), *tokens)
    assert value[0].tolist() == pytest.approx([10.0, math.exp(2.6) - 3.6, 10.0])
    assert slope[0].tolist() == pytest.approx([0.0, 1 - math.exp(2.6), 0.0])
    value, slope = terms(KL(estimator="k3+", max_value=10.0), *tokens)
    assert slope[0].tolist() == pytest.approx([-24.0, -2.6, 37.0])
    value, slope = terms(KL(estimator="k2"), *tokens)
    assert value[0].tolist() == pytest.approx([288.0, 3.38, 684.5])
    assert slope[0].tolist() == pytest.approx([-24.0, -2.6, 37.0])


@pytest.mark.parametrize("reduction", maspo.REDUCTIONS)
def test_the_term_is_reduced_with_the_objective_and_untouched_by_it(reduction):
    """No rollout weight, no mask of the objective: the loss differs by the reduced penalty alone."""
    g = torch.Generator().manual_seed(4)
    old, log_probs, ref = -2 * torch.rand(3, 3, 5, generator=g, dtype=torch.float64)
    mask = torch.arange(5) < torch.tensor([5, 2, 3])[:, None]
    common = {
        "objective": GRPO(off_policy_threshold=0.0),
        "reduction": reduction,
        "max_length": 7 if reduction.endswith("norm") else None,
        "rollout_weights": torch.rand(3, 5, generator=g, dtype=torch.float64),
    }
    kl, found = KL(coef=0.3, estimator="k2"), []
    for more in ({}, {"kl": kl, "ref_log_probs": ref.masked_fill(~mask, math.nan)}):
        x = log_probs.clone().requires_grad_()
        result = maspo.policy_loss(x, old, -torch.ones(3), mask, **common, **more)
        result.loss.backward()
        found.append((result.loss.detach(), x.grad))
    size = {
        "token-mean": [1 / 10] * 3,
        "seq-mean-token-mean": [1 / 15, 1 / 6, 1 / 9],
        "seq-mean-token-sum": [1 / 3] * 3,
        "seq-mean-token-sum-norm": [1 / 21] * 3,
    }[reduction]
    x = (log_probs - ref).masked_fill(~mask, 0.0)
    penalty = 0.3 * x * torch.tensor(size, dtype=torch.float64)[:, None]
    torch.testing.assert_close(found[1][0] - found[0][0], (penalty * x / 2).sum())
    torch.testing.assert_close(found[1][1] - found[0][1], penalty)
    mean = float((x[mask] ** 2 / 2).mean())
    assert float(result.metrics["maspo/kl"]) == pytest.approx(mean)


def test_impossible_tokens_are_finite():
    extremes = torch.tensor([-math.inf, -100.0, -1e-3, 0.0])
    log_probs, ref = (x.flatten()[None] for x in torch.meshgrid(extremes, extremes, indexing="ij"))
    for estimator in ESTIMATORS:
        for corrected in {False, not estimator.endswith("+")}:
            kl = KL(estimator=estimator, bias_correction=corrected)
            for tensor in terms(kl, log_probs, ref, old=torch.zeros_like(log_probs)):
                assert tensor.isfinite().all()


def test_half_precision_is_computed_in_float32():
    half = [torch.tensor([[-0.5, -2.0]], dtype=torch.bfloat16) for _ in range(3)]
    losses = []
    for old, log_probs, ref in (half, [x.float() for x in half]):
        result = maspo.policy_loss(
            log_probs, old, torch.ones(1), torch.ones(1, 2), objective="grpo",
            ref_log_probs=ref - 0.25, kl=KL(coef=0.5),
        )  # fmt: skip
        losses.append(result.loss)
    assert losses[0].dtype == torch.float32 and torch.equal(*losses)


def test_bad_input_is_refused_in_one_sentence():
    for settings, message in (
        ({"coef": 0.0}, r"coef \(β\) of KL must be > 0"),
        ({"estimator": "k4"}, "must be k1 or k2 or k3"),
        ({"max_value": 0.0}, "must be > 0, or none"),
        ({"estimator": "k3+", "bias_correction": True}, "does not go with k3"),
    ):
        with pytest.raises(maspo.InputError, match=message):
            KL(**settings)
    ones = torch.ones(1, 2)
    for more in ({"kl": KL()}, {"ref_log_probs": ones}):
        with pytest.raises(maspo.InputError, match="go together"):
            maspo.policy_loss(-ones, -ones, ones, ones, objective="grpo", **more)
    with pytest.raises(ValueError, match=r"ref_log_probs must be \[1, 2\], not \[2\]"):
        maspo.policy_loss(
            -ones, -ones, ones, ones, objective="grpo", kl=KL(), ref_log_probs=-ones[0]
        )
