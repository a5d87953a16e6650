"""The table of objectives under test: a row is an objective and the oracle it must equal."""

from collections.abc import Callable
from typing import NamedTuple

import oracle

from maspo import GRPO, MASPO, SAPO, ClipHigher, DualClip, Objective


class Row(NamedTuple):
    """One objective, its oracle, and the oracle's arguments."""

    objective: Objective
    token: Callable
    settings: dict


def same(kind, token, **settings):
    """Pair an objective and an oracle that take the same settings."""
    return Row(kind(**settings), token, settings)


ROWS = [
    same(GRPO, oracle.ppo),
    same(GRPO, oracle.ppo, epsilon_low=0.1, epsilon_high=0.4, cap=2.0),
    Row(ClipHigher(), oracle.ppo, {"epsilon_high": 0.28}),
    Row(DualClip(), oracle.ppo, {"cap": 3.0}),
    same(MASPO, oracle.maspo),
    same(MASPO, oracle.maspo, alpha=0.5, cap=3.0),
    same(MASPO, oracle.maspo, alpha=0.0),
    same(MASPO, oracle.maspo, beta_pos=0.0, beta_neg=0.0),
    same(MASPO, oracle.maspo, shape="hard", sigma_base=0.2),
    same(MASPO, oracle.maspo, sigma_high=None, adv_low=None, adv_high=None),
    same(
        MASPO, oracle.maspo,
        sigma_base=0.2, sigma_high=1.5, beta_pos=0.3, beta_neg=0.5, adv_low=0.8, adv_high=1.2,
    ),
    same(SAPO, oracle.sapo),
    same(SAPO, oracle.sapo, tau_pos=0.7, tau_neg=2.0, two_sided=False),
]  # fmt: skip


def label(row: Row) -> str:
    """Name a row by its class and what it changes."""
    changed = ",".join(f"{key}={value}" for key, value in row.settings.items())
    return f"{type(row.objective).__name__}({changed})"
