"""References for objectives of sequences and batches that need more than `test_golden` gives."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from test_objectives import loss_and_grad
from test_sequence_objectives import clean

from maspo import make_objective
from maspo.objectives.covariance import covariances

GOLDEN_CASES = [*map(str, range(12)), "grid"]


@pytest.fixture(scope="module")
def golden(shared):
    """Open the stored vectors."""
    return np.load(shared / "golden" / "golden.npz")


def stored(golden, reference, case):
    """Give the inputs of a stored case, and a function to its outputs."""
    names = "log_prob", "old_log_prob", "advantages", "mask", "rollout_is_weights"
    given = {name: torch.from_numpy(golden[f"in/{case}/{name}"]) for name in names}
    return given, lambda name: torch.from_numpy(golden[f"out/{reference}/{case}/{name}"])


@pytest.mark.parametrize("case", GOLDEN_CASES)
@pytest.mark.parametrize("source", ["vespo_official", "trl1160"])
def test_vespo_with_rollout_weights_in_the_sequence_ratio(golden, source, case):
    """They multiply v into W; here log π_old - log v takes the place of log π_old.

    Weights on tokens, outside φ, are something else: the largest difference of the gradients is 0.24
    to 177 times their largest entry, over the cases with a gradient.
    """
    given, out = stored(golden, f"{source}/vespo_is/token-mean", case)
    weights = given["rollout_is_weights"]
    folded = given["old_log_prob"] - weights.log()
    log_probs, advantages, mask = (given[x] for x in ("log_prob", "advantages", "mask"))
    result, grad = loss_and_grad(make_objective("vespo"), log_probs, folded, advantages, mask)
    assert float(result.loss) == pytest.approx(float(out("loss")), rel=1e-10, abs=1e-13)
    torch.testing.assert_close(grad, out("grad"), rtol=1e-10, atol=1e-13)
    if advantages.any():
        _, outside = loss_and_grad(
            make_objective("vespo"), log_probs, given["old_log_prob"], advantages, mask,
            rollout_weights=weights,
        )  # fmt: skip
        assert (outside - out("grad")).abs().max() > 0.2 * out("grad").abs().max()


@pytest.mark.parametrize("case", GOLDEN_CASES)
@pytest.mark.parametrize(
    ("reference", "low", "high"),
    [("geo_mean", 0.2, 0.28), ("geo_mean_04", 0.4, 0.4), ("geo_mean_is", 0.2, 0.28)],
)
def test_gmpo_equals_verls_geo_mean(golden, reference, low, high, case):
    """verl divides by n + 1e-8 in the exponent, in the mean advantage and so in the gradient."""
    given, out = stored(golden, f"verl091/{reference}/seq-mean-token-mean", case)
    log_probs, old, advantages, mask = (
        given[x] for x in ("log_prob", "old_log_prob", "advantages", "mask")
    )
    n = mask.sum(1, keepdim=True)
    shrink = n / (n + 1e-8)
    drift = log_probs - old
    held = torch.where(advantages > 0, drift.clamp(max=high), drift.clamp(min=-low))
    mean = (held * mask).sum(1, keepdim=True) / n
    factors = shrink * torch.exp(mean * (shrink - 1))
    if reference.endswith("_is"):
        logs = (given["rollout_is_weights"] + 1e-10).log() * mask
        factors = factors * (logs.sum(1, keepdim=True) / (n + 1e-8)).exp()
    result, grad = loss_and_grad(
        make_objective("gmpo", epsilon_low=low, epsilon_high=high), log_probs, old, advantages, mask,
        reduction="seq-mean-token-mean", rollout_weights=factors.expand_as(mask),
    )  # fmt: skip
    assert float(result.loss) == pytest.approx(float(out("loss")), rel=1e-10, abs=1e-12)
    torch.testing.assert_close(grad * shrink, out("grad"), rtol=1e-10, atol=1e-13)


def choosing(objective, chosen):
    """Give the objective a selection of tokens in place of its own."""

    class Given(type(objective)):
        def select(self, *_):
            return chosen

    return Given(**{f.name: getattr(objective, f.name) for f in fields(objective)})


CLIP_COV = {"epsilon_low": 0.2, "epsilon_high": 0.28}
COV_REFERENCES = {
    "clip_cov": make_objective("clip_cov", **CLIP_COV),
    "clip_cov_r20": make_objective("clip_cov", fraction=0.2, cov_low=0.1, **CLIP_COV),
    "kl_cov": make_objective("kl_cov", fraction=2e-4, beta=0.1),
    "kl_cov_r20": make_objective("kl_cov", fraction=0.2),
}


@pytest.mark.parametrize("case", GOLDEN_CASES)
@pytest.mark.parametrize("reference", COV_REFERENCES)
def test_covariance_objectives_equal_verl_for_its_selection(golden, reference, case):
    given, out = stored(golden, f"verl091/{reference}/token-mean", case)
    batch = [given[x] for x in ("log_prob", "old_log_prob", "advantages", "mask")]
    chosen = out("selected").bool()
    result, grad = loss_and_grad(choosing(COV_REFERENCES[reference], chosen), *batch)
    assert float(result.loss) == pytest.approx(float(out("loss")), rel=1e-10, abs=1e-13)
    torch.testing.assert_close(grad, out("grad"), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("case", GOLDEN_CASES)
@pytest.mark.parametrize("reference", ["clip_cov", "clip_cov_r20"])
def test_clip_cov_draws_as_many_of_the_same_candidates(golden, reference, case):
    """The stored selection is the first of the candidates in row-major order."""
    given, out = stored(golden, f"verl091/{reference}/token-mean", case)
    objective = COV_REFERENCES[reference]
    batch = clean(*(given[x] for x in ("log_prob", "old_log_prob", "advantages", "mask")))
    weights = super(type(objective), objective).token_terms(batch).weights
    candidates = objective.candidates(batch, weights)
    expected, ours = out("selected").bool(), objective.select(batch, weights)
    first = torch.zeros_like(candidates)
    first.view(-1)[candidates.flatten().nonzero()[: int(expected.sum()), 0]] = True
    assert torch.equal(first, expected)
    assert int(ours.sum()) == int(expected.sum()) and not (ours & ~candidates).any()


@pytest.mark.parametrize("case", GOLDEN_CASES)
@pytest.mark.parametrize("reference", ["kl_cov", "kl_cov_r20"])
def test_kl_cov_ranks_as_verl(golden, reference, case):
    """The covariances chosen are the same, and so are the tokens unless several tie for the last place.

    They tie in the cases 0 and 6, whose advantages are all equal, and for the share 0.2 in 1 and 7;
    there the stored choice is torch.topk's and ours the first in the batch.
    """
    given, out = stored(golden, f"verl091/{reference}/token-mean", case)
    batch = clean(*(given[x] for x in ("log_prob", "old_log_prob", "advantages", "mask")))
    expected, ours = out("selected").bool(), COV_REFERENCES[reference].select(batch)
    cov = covariances(batch)
    chosen = [cov[x].sort().values for x in (expected, ours)]
    torch.testing.assert_close(*chosen, rtol=1e-12, atol=1e-15)
    edge = cov.isclose(chosen[0][0], rtol=1e-12, atol=1e-15) & batch.mask
    if torch.equal(edge, edge & expected):
        assert torch.equal(expected, ours)


@pytest.mark.parametrize("case", GOLDEN_CASES)
@pytest.mark.parametrize(
    ("reference", "settings"),
    [
        ("bapo", {}),
        (
            "bapo_script",
            {"target": 1 / 3, "lower_start": 0.8, "lower_max": 0.95, "upper_step": 0.1},
        ),
        (
            "bapo_early",
            {"target": 0.375, "lower_start": 0.5, "lower_max": 0.7, "upper_start": 0.75},
        ),
    ],
)
def test_bapo_finds_the_bounds_of_the_release(golden, reference, settings, case):
    given, out = stored(golden, f"bapo_official/{reference}/token-mean", case)
    batch = clean(*(given[x] for x in ("log_prob", "old_log_prob", "advantages", "mask")))
    found = make_objective("bapo_released", **settings).bounds(batch)
    assert [float(x) for x in found] == pytest.approx(out("bounds")[:2].tolist(), rel=1e-12)
