"""The table of objectives under test: a row is an objective and the oracle it must equal."""

from collections.abc import Callable
from typing import NamedTuple

import oracle
import oracle_axes
import oracle_sequence
import oracle_token

from maspo import GRPO, MASPO, SAPO, ClipHigher, DualClip, Objective, make_objective


class Row(NamedTuple):
    """One objective, its oracle, and the oracle's arguments."""

    objective: Objective
    token: Callable
    settings: dict
    lacks: tuple[str, ...] = ()
    """Properties that most objectives share and this one, by design, does not:

    inert: on policy every weight is 1.
    bounded: a weight is at most the ratio.
    scales: the slope is proportional to A.
    """
    whole: bool = False
    """The oracle takes a whole batch, see `oracle_sequence`."""
    pooled: bool = False
    """The oracle is applied to the mean log-probabilities of the sequence."""


def same(kind, token, **settings):
    """Pair an objective and an oracle that take the same settings."""
    return Row(kind(**settings), token, settings)


def named(name, token, lacks=(), also=None, **settings):
    """Pair the objective called `name` with an oracle; `also`: defaults the oracle has otherwise."""
    return Row(make_objective(name, **settings), token, {**(also or {}), **settings}, lacks)


def coupled(name, batch, lacks=(), also=None, **settings):
    """Pair the objective called `name` with an oracle of whole batches."""
    return named(name, batch, lacks, also, **settings)._replace(whole=True)


ROWS = [
    same(GRPO, oracle.ppo),
    same(GRPO, oracle.ppo, epsilon_low=0.1, epsilon_high=0.4, cap=2.0),
    Row(ClipHigher(), oracle.ppo, {"epsilon_high": 0.28}),
    Row(DualClip(), oracle.ppo, {"cap": 3.0}),
    named("dr_grpo", oracle_axes.clipped),
    named("reinforce_pp", oracle_axes.clipped, epsilon_low=0.3, epsilon_high=0.1),
    named("rloo", oracle_axes.reinforce, ("bounded",)),
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
    named("sapo_one_sided", oracle.sapo, also={"two_sided": False}),
    named("gate_erf", oracle_token.gate_erf),
    named("gate_erf", oracle_token.gate_erf, tau_pos=0.4, tau_neg=3.0, two_sided=False),
    named("gate_arctan", oracle_token.gate_arctan),
    named("gate_arctan", oracle_token.gate_arctan, tau_pos=0.4, tau_neg=3.0, two_sided=False),
    named("gate_softsign", oracle_token.gate_softsign),
    named("gate_softsign", oracle_token.gate_softsign, tau_pos=0.4, tau_neg=3.0, two_sided=False),
    named("maspo_sequence", oracle.maspo)._replace(pooled=True),
    named("maspo_no_mass", oracle.maspo, also={"alpha": 0.0}),
    named("maspo_no_risk", oracle.maspo, also={"beta_pos": 0.0, "beta_neg": 0.0}),
    named("maspo_hard", oracle.maspo, also={"shape": "hard"}),
    named("maspo_capped", oracle.maspo, also={"cap": 3.0}),
    named("dac", oracle_token.dac),
    named("dac", oracle_token.dac, epsilon_low=0.05, epsilon_high=0.4, r_max=2.0, cap=3.0),
    named("dac_released", oracle_token.dac, also={"epsilon_low": 0.2, "epsilon_high": 0.28}),
    named("entropy_advantage", oracle_token.entropy_advantage, ("inert", "bounded")),
    named(
        "entropy_advantage", oracle_token.entropy_advantage, ("inert", "bounded"),
        alpha=1.5, kappa=1.25, epsilon_low=0.4, cap=2.0,
    ),
    named("cispo", oracle_token.cispo),
    named("cispo", oracle_token.cispo, ("bounded",), epsilon_low=0.2, epsilon_high=0.28),
    named("gppo", oracle_token.ce_gppo, ("bounded",), also={"beta1": 1.0}),
    named("ce_gppo", oracle_token.ce_gppo, ("bounded",)),
    named(
        "ce_gppo", oracle_token.ce_gppo, ("bounded",),
        beta1=0.7, beta2=0.3, epsilon_low=0.1, epsilon_high=0.4, cap=2.0,
    ),
    named("ce_gppo_released", oracle_token.ce_gppo, ("bounded",), also={"beta1": 0.25}),
    named("aspo", oracle_token.aspo, ("bounded",)),
    named(
        "aspo", oracle_token.aspo, ("bounded",),
        epsilon_common=0.5, epsilon_rare=0.1, quantile=0.3, weight_cap=None,
    ),
    named("dppo_tv", oracle_token.dppo_tv),
    named("dppo_tv", oracle_token.dppo_tv, delta_low=0.01, delta_high=0.02, weight_cap=1.5),
    named("dppo_kl", oracle_token.dppo_kl),
    named("dppo_kl", oracle_token.dppo_kl, delta_low=0.005, delta_high=0.01, weight_cap=1.5),
    named("dgpo", oracle_token.dgpo),
    named("dgpo", oracle_token.dgpo, n=2.0, m=3.0, epsilon_low=0.1, epsilon_high=0.3),
    named("gpg", oracle_token.gpg, ("bounded",)),
    named("dro", oracle_token.dro, ("bounded", "scales")),
    named("dro", oracle_token.dro, ("bounded", "scales"), beta=0.7),
    named("gspo", oracle.ppo, also={"epsilon_low": 3e-4, "epsilon_high": 4e-4})._replace(pooled=True),
    named("gspo", oracle.ppo, epsilon_low=0.3, epsilon_high=0.4, cap=1.5)._replace(pooled=True),
    named("gspo_token", oracle.ppo, also={"epsilon_low": 3e-4, "epsilon_high": 4e-4})._replace(pooled=True),
    named("luspo", oracle.ppo, also={"epsilon_low": 2e-3, "epsilon_high": 2.5e-3})._replace(pooled=True),
    coupled("gmpo", oracle_sequence.gmpo, ("bounded",)),
    coupled("gmpo", oracle_sequence.gmpo, ("bounded",), epsilon_low=0.1, epsilon_high=0.9, cap=1.2),
    coupled("vespo", oracle_sequence.vespo, ("bounded",)),
    coupled(
        "vespo", oracle_sequence.vespo, ("bounded",),
        k_pos=0.5, lambda_pos=0.7, k_neg=1.0, lambda_neg=0.2,
    ),
    coupled("maspo_calibrated", oracle_sequence.maspo_calibrated),
    coupled(
        "maspo_calibrated", oracle_sequence.maspo_calibrated,
        keep=0.6, narrowest=0.3, sigma_base=0.5, alpha=0.5, shape="hard", cap=2.0,
    ),
    coupled("maspo_drift", oracle_sequence.maspo_drift, drift=0.2),
    coupled(
        "maspo_drift", oracle_sequence.maspo_drift,
        drift=0.1, sigma_base=0.5, alpha=0.5, shape="hard", cap=2.0,
    ),
    coupled("bapo", oracle_sequence.bapo),
    coupled(
        "bapo", oracle_sequence.bapo,
        target=0.55, upper_start=0.8, upper_max=1.5, lower_max=0.75, lower_step=0.07,
        first="lower", cap=2.0,
    ),
    coupled("bapo_released", oracle_sequence.bapo, also=oracle_sequence.BAPO_RELEASED),
    coupled(
        "clip_cov", oracle_sequence.clip_cov_all, ("inert",), fraction=1.0, cov_low=0.1,
    ),
    coupled(
        "clip_cov", oracle_sequence.clip_cov_all, ("inert",),
        fraction=1.0, cov_low=-1.0, cov_high=0.5, epsilon_low=0.2, epsilon_high=0.3, seed=1,
    ),
    coupled("kl_cov", oracle_sequence.kl_cov, ("scales",)),
    coupled("kl_cov", oracle_sequence.kl_cov, ("scales",), fraction=0.3, beta=0.2),
    named("ipo", oracle_token.ipo),
    named("ipo", oracle_token.ipo, epsilon=0.02, weight_cap=1.5),
    named("icepop", oracle_token.icepop),
    named("icepop", oracle_token.icepop, low=0.8, high=1.25),
    named("drpo", oracle_token.drpo, ("bounded",)),
    named("drpo", oracle_token.drpo, ("bounded",), epsilon=0.05),
    coupled("cppo", oracle_sequence.cppo),
    coupled("cppo", oracle_sequence.cppo, delta=0.03, last_weight=0.3, budget=0.004),
    coupled("real", oracle_sequence.real, ("inert", "bounded", "scales")),
    coupled("real", oracle_sequence.real, ("inert", "bounded", "scales"), tau=0.1),
    coupled("fipo", oracle_sequence.fipo, ("bounded",)),
    coupled(
        "fipo", oracle_sequence.fipo, ("bounded",),
        half_life=1.5, weight_low=0.5, weight_high=3.0, safety=1.1, cap=1.3, epsilon_low=0.4,
    ),
]  # fmt: skip


def label(row: Row) -> str:
    """Name a row by its class and what it changes."""
    changed = ",".join(f"{key}={value}" for key, value in row.settings.items())
    return f"{type(row.objective).__name__}({changed})"
