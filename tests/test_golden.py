"""Losses and gradients of the authors' and other public implementations, as stored numbers.

Some references divide by a count + 1e-8. Both loss and gradient are compared with that constant put
in, to 1e-10.
"""

import numpy as np
import pytest
import torch

import maspo
from maspo import GRPO, MASPO, SAPO, DualClip, make_objective

TIGHT = {"sigma_base": 0.05, "alpha": 0.0, "beta_pos": 0.0, "beta_neg": 0.0}
WIDE = {"sigma_base": 0.2, "sigma_high": 1.5, "beta_pos": 0.3, "beta_neg": 0.5}

# The targets of the BAPO release are ratios r of positive to negative, ours the share r / (1 + r).
SCRIPT = {"target": 1 / 3, "lower_start": 0.8, "lower_max": 0.95, "upper_step": 0.1}
EARLY = {"target": 0.375, "lower_start": 0.5, "lower_max": 0.7, "upper_start": 0.75}

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
    "verl091/gspo": make_objective("gspo", epsilon_low=0.2, epsilon_high=0.28),
    "verl091/gspo_is": make_objective("gspo_token", epsilon_low=0.2, epsilon_high=0.28),
    "verl091/gspo_tight": make_objective("gspo"),
    "verl091/sapo": SAPO(),
    "verl091/sapo_is": SAPO(),
    "trl1160/grpo": GRPO(epsilon_high=0.28),
    "trl1160/bnpo": GRPO(epsilon_high=0.28),
    "trl1160/dr_grpo": GRPO(epsilon_high=0.28),
    "trl1160/dapo": GRPO(epsilon_high=0.28),
    "trl1160/dapo_is": GRPO(epsilon_high=0.28),
    "trl1160/dapo_delta4": GRPO(epsilon_high=0.28, cap=4.0),
    "trl1160/grpo_opsm": GRPO(epsilon_high=0.28, off_policy_threshold=0.02),
    "trl1160/grpo_sequence": make_objective("gspo"),
    "trl1160/luspo": make_objective("luspo"),
    "trl1160/sapo": SAPO(),
    "dcpo_official/dac": make_objective("dac"),
    "dcpo_official/dac_c3": make_objective("dac", cap=3.0),
    "dcpo_official/dac_script": make_objective("dac_released"),
    "cegppo_official/ce_gppo_b1_05": make_objective("ce_gppo"),
    "cegppo_official/ce_gppo_b1_075": make_objective("ce_gppo", beta1=0.75),
    "cegppo_official/ce_gppo_b1_025": make_objective("ce_gppo_released"),
    "cegppo_official/gppo": make_objective("gppo"),
    "cegppo_official/gppo_name_supplied": make_objective("gppo"),
    "cegppo_official/ppo_b0": make_objective("ce_gppo", beta1=0.0, beta2=0.0),
    "aspo_official/aspo": make_objective("aspo"),
    "aspo_official/aspo_eps02": make_objective("aspo", epsilon_rare=0.2),
    "dgpo_official/dgpo_n1_m2": make_objective("dgpo"),
    "dgpo_official/dgpo_n2_m2": make_objective("dgpo", n=2.0),
    "formula/entropy_advantage": make_objective("entropy_advantage", cap=3.0),
    "verl091/gpg": make_objective("gpg"),
    "verl091/gpg_is": make_objective("gpg"),
    "verl091/dppo_tv": make_objective("dppo_tv", delta_low=0.2, delta_high=0.28, weight_cap=3.0),
    "verl091/dppo_tv_is": make_objective("dppo_tv", delta_low=0.2, delta_high=0.28, weight_cap=3.0),
    "verl091/dppo_tv_015": make_objective("dppo_tv"),
    "verl091/dppo_kl": make_objective("dppo_kl", delta_low=0.2, delta_high=0.28, weight_cap=3.0),
    "verl091/dppo_kl_005": make_objective("dppo_kl"),
    "verl091/dro": make_objective("dro", beta=0.1),
    "verl091/cispo": make_objective("cispo", epsilon_low=0.2, epsilon_high=0.28),
    "verl091/cispo_is": make_objective("cispo", epsilon_low=0.2, epsilon_high=0.28),
    "verl091/cispo_cap5": make_objective("cispo"),
    "trl1160/cispo": make_objective("cispo"),
    "trl1160/vespo": make_objective("vespo"),
    "vespo_official/vespo": make_objective("vespo"),
    "gmpo_official/gmpo": make_objective("gmpo"),
    "bapo_official/bapo": make_objective("bapo_released"),
    "bapo_official/bapo_is": make_objective("bapo_released"),
    "bapo_official/bapo_script": make_objective("bapo_released", **SCRIPT),
    "bapo_official/bapo_early": make_objective("bapo_released", **EARLY),
}
ADD_TO_TOKENS = "dcpo", "cegppo", "aspo", "bapo"
ADD_NOTHING = "trl", "gmpo"
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
        for name in (
            "log_prob", "old_log_prob", "advantages", "mask", "rollout_is_weights", "entropy",
        )
    }  # fmt: skip
    out = f"out/{reference}/{reduction}/{case}"
    log_probs = given["log_prob"].clone().requires_grad_()
    time = log_probs.shape[1]
    # The MASPO release forgets to divide this one by the number of rows.
    unscaled = reference.startswith("maspo_official") and reduction.endswith("norm")
    # A factor per token does to loss and gradient alike what a larger denominator does.
    factors = their_denominator(reference, reduction, given["mask"]).expand_as(log_probs)
    if reference.endswith("_is"):
        factors = factors * given["rollout_is_weights"]
    result = maspo.policy_loss(
        log_probs, given["old_log_prob"], given["advantages"], given["mask"],
        objective=REFERENCES[reference],
        reduction=reduction,
        denominator=1 if unscaled else None,
        max_length=time if reduction.endswith("norm") else None,
        rollout_weights=factors,
        entropies=given["entropy"],
    )  # fmt: skip
    result.loss.backward()
    expected = torch.from_numpy(golden[f"{out}/grad"])
    where = f"{reference} {reduction} case {case}"
    value = float(result.loss.detach())
    assert value == pytest.approx(float(golden[f"{out}/loss"]), rel=1e-10, abs=1e-12), where
    torch.testing.assert_close(
        log_probs.grad, expected, rtol=1e-10, atol=1e-13, msg=lambda m: f"{where}: {m}"
    )


def their_denominator(reference, reduction, mask):
    """Give our denominator over theirs, `[batch, 1]`.

    verl and its forks add 1e-8 to the length of a row, the forks of older versions to the tokens of a
    batch.
    """
    if reference.startswith(ADD_TO_TOKENS):
        adds, counts = reduction == "token-mean", mask.sum().expand(len(mask), 1)
    else:
        adds = reduction == "seq-mean-token-mean" and not reference.startswith(ADD_NOTHING)
        counts = mask.sum(1, keepdim=True)
    return counts / (counts + 1e-8 * adds)
