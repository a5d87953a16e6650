"""Losses and gradients of the authors' and other public implementations, as stored numbers.

Some references divide rows by (length + 1e-8). Gradients are compared with that constant put in, to
1e-10; losses, which are sums over rows, to the size of the constant.
"""

import numpy as np
import pytest
import torch

import maspo
from maspo import GRPO, MASPO, SAPO, DualClip

TIGHT = {"sigma_base": 0.05, "alpha": 0.0, "beta_pos": 0.0, "beta_neg": 0.0}
WIDE = {"sigma_base": 0.2, "sigma_high": 1.5, "beta_pos": 0.3, "beta_neg": 0.5}

REFERENCES = {
    "maspo_official/default": MASPO(),
    "maspo_official/alpha05": MASPO(alpha=0.5),
    "maspo_official/sigma2_beta": MASPO(**WIDE),
    "maspo_official/tight": MASPO(**TIGHT),
    "maspo_official/ppo": DualClip(epsilon_high=0.28),
    "verl091/vanilla": DualClip(epsilon_high=0.28),
    "verl091/vanilla_is": DualClip(epsilon_high=0.28),
    "verl091/vanilla_sym": DualClip(),
    "verl091/vanilla_nodual": GRPO(),
    "verl091/gspo": GRPO(epsilon_high=0.28, level="sequence"),
    "verl091/gspo_tight": GRPO(epsilon_low=3e-4, epsilon_high=4e-4, level="sequence"),
    "verl091/sapo": SAPO(),
    "verl091/sapo_is": SAPO(),
    "trl1160/grpo": GRPO(epsilon_high=0.28),
    "trl1160/bnpo": GRPO(epsilon_high=0.28),
    "trl1160/dr_grpo": GRPO(epsilon_high=0.28),
    "trl1160/dapo": GRPO(epsilon_high=0.28),
    "trl1160/dapo_is": GRPO(epsilon_high=0.28),
    "trl1160/dapo_delta4": GRPO(epsilon_high=0.28, cap=4.0),
    "trl1160/grpo_sequence": GRPO(epsilon_low=3e-4, epsilon_high=4e-4, level="sequence"),
    "trl1160/luspo": GRPO(epsilon_low=2e-3, epsilon_high=2.5e-3, level="sequence"),
    "trl1160/sapo": SAPO(),
}
CASES = [*map(str, range(12)), "grid"]


@pytest.fixture(scope="module")
def golden(shared):
    """Open the stored vectors."""
    return np.load(shared / "golden" / "golden.npz")


def reductions_of(golden, reference):
    """List the reductions of a reference that are ours too (token-sum is not)."""
    found = {k.split("/")[3] for k in golden.files if k.startswith(f"out/{reference}/")}
    return sorted(found & set(maspo.REDUCTIONS))


@pytest.mark.parametrize("reference", REFERENCES)
def test_equals_the_reference(golden, reference):
    reductions = reductions_of(golden, reference)
    assert reductions
    for reduction in reductions:
        for case in CASES:
            compare(golden, reference, reduction, case)


def compare(golden, reference, reduction, case):
    """Check loss, gradient and weights of one stored case."""
    given = {
        name: torch.from_numpy(golden[f"in/{case}/{name}"])
        for name in ("log_prob", "old_log_prob", "advantages", "mask", "rollout_is_weights")
    }
    out = f"out/{reference}/{reduction}/{case}"
    log_probs = given["log_prob"].clone().requires_grad_()
    time = log_probs.shape[1]
    # The MASPO release forgets to divide this one by the number of rows.
    unscaled = reference.startswith("maspo_official") and reduction.endswith("norm")
    result = maspo.policy_loss(
        log_probs, given["old_log_prob"], given["advantages"], given["mask"],
        objective=REFERENCES[reference],
        reduction=reduction,
        denominator=1 if unscaled else None,
        max_length=time if reduction.endswith("norm") else None,
        rollout_weights=given["rollout_is_weights"] if reference.endswith("_is") else None,
    )  # fmt: skip
    result.loss.backward()
    expected = torch.from_numpy(golden[f"{out}/grad"])
    where = f"{reference} {reduction} case {case}"
    value = float(result.loss.detach())
    assert value == pytest.approx(float(golden[f"{out}/loss"]), rel=2e-7, abs=1e-8), where
    exact = log_probs.grad * their_denominator(reference, reduction, given["mask"])
    torch.testing.assert_close(
        exact, expected, rtol=1e-10, atol=1e-13, msg=lambda m: f"{where}: {m}"
    )


def their_denominator(reference, reduction, mask):
    """Give our denominator over theirs: verl and its forks divide a row by its length + 1e-8."""
    counts = mask.sum(1, keepdim=True)
    adds = reduction == "seq-mean-token-mean" and not reference.startswith("trl")
    return counts / (counts + 1e-8) if adds else 1.0
