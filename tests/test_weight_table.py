"""Published numbers: weights of a token at six points, and the settings that objectives start with.

The table of weights was computed apart from this package and checked there against the authors'
functions (MASPO, DGPO, DAC, ASPO, CE-GPPO) and verl 0.9.1 (the others), to 2e-9.
"""

from dataclasses import asdict

import pytest
import torch

import maspo
from maspo.objectives import BUILT_IN

POINTS = [  # π_old, log ρ, A
    (0.5, 0.3, 1), (0.5, -0.3, -1), (0.5, 0.3, -1), (0.01, 1.5, 1), (0.01, -1.5, -1), (0.01, 1.5, -1),
]  # fmt: skip
TABLE = [
    ("grpo", {}, [0, 0, 1.349859, 0, 0, 4.481689]),
    ("dual_clip", {}, [0, 0, 1.349859, 0, 0, 0]),
    ("clip_higher", {}, [0, 0, 1.349859, 0, 0, 4.481689]),
    ("dac", {}, [0, 0.740818, 1.349859, 4.481689, 0, 4.481689]),
    ("maspo", {}, [1.299449, 0.723605, 1.349859, 3.125283, 0.218668, 4.481689]),
    ("maspo", {"alpha": 0.5}, [1.311480, 0.727736, 1.349859, 4.232820, 0.222417, 4.481689]),
    ("sapo", {}, [1.309381, 0.727269, 1.305324, 0.518934, 0.189772, 0.440209]),
    ("cispo", {"epsilon_low": 0.2, "epsilon_high": 0.28}, [1.28, 0.8, 1.28, 1.28, 0.8, 1.28]),
    ("cispo", {}, [1.349859, 0.740818, 1.349859, 4.481689, 0.223130, 4.481689]),
    ("ce_gppo", {}, [1.2, 0.4, 1.349859, 1.2, 0.4, 4.481689]),
    ("aspo", {"epsilon_rare": 0.2}, [0, 0, 1.349859, 0, 0, 3]),
    ("dppo_tv", {}, [0, 0.740818, 1.349859, 4.481689, 0.223130, 4.481689]),
    ("dppo_kl", {}, [0, 0.740818, 1.349859, 4.481689, 0.223130, 4.481689]),
    ("gpg", {}, [1, 1, 1, 1, 1, 1]),
    ("dro", {}, [0.985, 0.985, 1.015, 0.925, 0.925, 1.075]),
    ("dgpo", {}, [1.272726, 0.686015, 1.349859, 2.319057, 0.062234, 4.481689]),
]


@pytest.mark.parametrize(("name", "settings", "expected"), TABLE)
def test_weights_equal_the_table(name, settings, expected):
    old, shift, advantages = torch.tensor(POINTS, dtype=torch.float64).T[:, :, None]
    log_probs = (old.log() + shift).requires_grad_()
    ones = torch.ones_like(old)
    objective = maspo.make_objective(name, **settings)
    loss = maspo.policy_loss(
        log_probs,
        old.log(),
        advantages,
        ones,
        objective=objective,
        entropies=ones,
        denominator=1,
        reduction="token-mean",
    ).loss
    (grad,) = torch.autograd.grad(loss, log_probs)
    assert (-grad / advantages).flatten().tolist() == pytest.approx(expected, abs=6e-7)


MASPOS = {
    "sigma_base": 1.0, "alpha": 0.3, "beta_pos": 0.03, "beta_neg": 0.03,
    "sigma_high": 10.0, "adv_low": 0.1, "adv_high": 10.0,
}  # fmt: skip
PPOS = {"epsilon_low": 0.2, "epsilon_high": 0.2}
SAPOS = {"tau_pos": 1.0, "tau_neg": 1.05}

# Every number that an objective starts with, and who published it.
DEFAULTS = {
    "maspo": MASPOS,  # the authors' release
    "maspo_sequence": MASPOS,
    "maspo_no_mass": MASPOS | {"alpha": 0.0},
    "maspo_no_risk": MASPOS | {"beta_pos": 0.0, "beta_neg": 0.0},
    "maspo_hard": MASPOS,
    "maspo_capped": MASPOS | {"cap": 3.0},  # verl's clip_ratio_c
    "maspo_calibrated": MASPOS | {"keep": 0.9, "narrowest": 0.05},  # ours
    "maspo_drift": MASPOS | {"drift": 0.01},  # ours
    "grpo": PPOS,  # verl
    "dr_grpo": PPOS,  # the authors' release
    "reinforce_pp": PPOS,  # verl
    "clip_higher": PPOS | {"epsilon_high": 0.28},  # DAPO, arXiv:2503.14476
    "dual_clip": PPOS | {"cap": 3.0},  # verl
    "rloo": {},
    "gpg": {},
    "sapo": SAPOS,  # arXiv:2511.20347
    "sapo_one_sided": SAPOS,
    "gate_erf": SAPOS,  # arXiv:2602.19345 is not known to publish any
    "gate_arctan": SAPOS,
    "gate_softsign": SAPOS,
    "dac": {"epsilon_low": 0.16, "epsilon_high": 0.2, "r_max": 10.0, "cap": 10.0},  # the paper
    "dac_released": {"epsilon_low": 0.2, "epsilon_high": 0.28, "r_max": 10.0, "cap": 10.0},
    "entropy_advantage": PPOS | {"epsilon_high": 0.28, "alpha": 0.4, "kappa": 2.0},  # the paper
    "cispo": {"epsilon_high": 4.0},  # weights to 5, as in ScaleRL; no lower bound, as in the paper
    "gppo": PPOS | {"beta1": 1.0, "beta2": 1.0, "cap": 10.0},  # the paper's scripts
    "ce_gppo": PPOS | {"beta1": 0.5, "beta2": 1.0, "cap": 10.0},  # the paper, for 1.5B
    "ce_gppo_released": PPOS | {"beta1": 0.25, "beta2": 1.0, "cap": 10.0},  # the code's default
    "aspo": {
        "epsilon_common": 0.2, "epsilon_rare": 0.4, "quantile": 0.8, "weight_cap": 3.0,
    },  # the paper and the authors' release
    "dppo_tv": {"delta_low": 0.15, "delta_high": 0.15, "weight_cap": 20.0},  # paper; cap: verl
    "dppo_kl": {"delta_low": 0.05, "delta_high": 0.05, "weight_cap": 20.0},
    "dgpo": PPOS | {"n": 1.0, "m": 2.0},  # the authors' release
    "dro": {"beta": 0.05},  # Tinker's example
    "gspo": {"epsilon_low": 3e-4, "epsilon_high": 4e-4},  # arXiv:2507.18071
    "gspo_token": {"epsilon_low": 3e-4, "epsilon_high": 4e-4},
    "luspo": {"epsilon_low": 2e-3, "epsilon_high": 2.5e-3},  # arXiv:2602.05261, by TRL's notes
    "gmpo": {"epsilon_low": 0.4, "epsilon_high": 0.4},  # arXiv:2507.20673
    "vespo": {"k_pos": 2.0, "lambda_pos": 3.0, "k_neg": 3.0, "lambda_neg": 2.0},  # release, TRL
    "bapo": {
        "target": 0.4, "upper_start": 1.2, "upper_max": 3.0, "upper_step": 0.05,
        "lower_start": 0.6, "lower_max": 0.9, "lower_step": 0.02,
    },  # arXiv:2510.18927, section 5.1
    "bapo_released": {
        "target": 0.5, "upper_start": 1.2, "upper_max": 2.0, "upper_step": 0.05,
        "lower_start": 0.6, "lower_max": 0.8, "lower_step": 0.05, "cap": 3.0,
    },  # the release's configuration; its ratio of 1.0 is a share of 0.5
    "clip_cov": {
        "fraction": 2e-4, "cov_low": 1.0, "cov_high": 5.0,
        "epsilon_low": 1.0, "epsilon_high": 1.0, "seed": 0,
    },  # arXiv:2505.22617; ε: the authors' scripts
    "ipo": {"epsilon": 0.3, "weight_cap": 1e4},  # prime-rl's documentation
    "icepop": {"low": 0.2, "high": 5.0},  # prime-rl
    "cppo": {"delta": 0.15, "last_weight": 0.8, "budget": 0.02},  # arXiv:2606.10968
    "real": {"tau": 0.5},  # arXiv:2602.05630
    "drpo": {"epsilon": 12.5},  # arXiv:2606.09821
    "fipo": PPOS
    | {"epsilon_high": 0.28, "cap": 10.0, "half_life": 32.0}
    | {"weight_low": 1.0, "weight_high": 1.2, "safety": 4.0},  # ms-swift; cap: authors' script
    "kl_cov": {"fraction": 2e-3, "beta": 1.0},  # arXiv:2505.22617, for 7B
}  # fmt: skip


def numbers_of(value):
    """List the settings that are numbers, neither switches nor words nor none."""
    return {k: v for k, v in asdict(value).items() if type(v) in (int, float)}


def test_every_objective_starts_with_the_published_numbers():
    held = {"max_log_ratio": 20.0}  # verl's clamp, of all of them
    found = {name: numbers_of(maspo.make_objective(name)) for name in BUILT_IN}
    assert found == {name: numbers | held for name, numbers in DEFAULTS.items()}


def test_the_other_axes_start_with_the_published_numbers():
    found = {name: numbers_of(kind()) for name, kind in maspo.ADVANTAGES.items()}
    assert {name: numbers for name, numbers in found.items() if numbers} == {
        "group": {"epsilon": 1e-6, "ddof": 1},  # verl
        "batch": {"epsilon": 1e-4, "ddof": 1},  # TRL
        "whiten": {"epsilon": 1e-8, "ddof": 1},  # verl
        "sas": {
            "epsilon": 1e-6,
            "ddof": 0,
        },  # arXiv:2509.02333 divides by n and has no e: that of group
    }
    assert numbers_of(maspo.KL()) == {"coef": 0.001}  # verl
