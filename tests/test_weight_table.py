"""Weights of a token at six points, to the six decimals of a table made before this code.

The table was computed apart from this package and checked there against the authors' functions (MASPO,
DGPO, DAC, ASPO, CE-GPPO) and verl 0.9.1 (the others), to 2e-9.
"""

import pytest
import torch

import maspo

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
        log_probs, old.log(), advantages, ones, objective=objective, entropies=ones, denominator=1
    ).loss
    (grad,) = torch.autograd.grad(loss, log_probs)
    assert (-grad / advantages).flatten().tolist() == pytest.approx(expected, abs=6e-7)
