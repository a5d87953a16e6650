"""verl's words for what a recipe says."""

from __future__ import annotations

from typing import Any

from maspo.engines.supported import Supported
from maspo.errors import InputError, unknown

SUPPORTED = Supported(title="verl", package="verl", window=">=0.9.0,<=0.9.1")
"""The versions that all of this was tested with."""

OWNED_BY_THE_OBJECTIVE = (
    "clip_ratio",
    "clip_ratio_low",
    "clip_ratio_high",
    "clip_ratio_c",
    "tau_pos",
    "tau_neg",
    "policy_loss.clip_cov_ratio",
    "policy_loss.clip_cov_lb",
    "policy_loss.clip_cov_ub",
    "policy_loss.kl_cov_ratio",
    "policy_loss.ppo_kl_coef",
    "policy_loss.dro_beta",
)
"""Settings of verl's own losses, under `actor`: with an objective in their place they would do nothing."""

VERL_MAY_CHANGE = frozenset(
    {
        "trainer.logger",
        "trainer.project_name",
        "trainer.experiment_name",
        *(
            f"actor_rollout_ref.{key}"
            for key in (
                "actor.fsdp_config.param_offload",
                "actor.fsdp_config.optimizer_offload",
                "actor.ppo_max_token_len_per_gpu",
                "ref.fsdp_config.param_offload",
                "rollout.gpu_memory_utilization",
                "rollout.log_prob_max_token_len_per_gpu",
                "rollout.log_prob_micro_batch_size_per_gpu",
                "rollout.max_num_batched_tokens",
                "rollout.max_num_seqs",
                "rollout.tensor_model_parallel_size",
            )
        ),
    }
)
"""Settings that say where things lie and how much memory they take; after a crash one changes them."""

SETTINGS = "maspo.engines.verl.settings.MASPOPolicyLossConfig"
"""The class that `actor.policy_loss._target_` names."""

VERL_ADVANTAGES = {
    "group": {"algorithm.adv_estimator": "grpo", "algorithm.norm_adv_by_std_in_grpo": True},
    "center": {"algorithm.adv_estimator": "grpo", "algorithm.norm_adv_by_std_in_grpo": False},
    "loo": {"algorithm.adv_estimator": "rloo"},
}
"""Advantage estimators that verl computes as we do."""

OUR_ADVANTAGES = ("batch", "whiten", "gpg")
"""Estimators that our plug-in adds to verl: it has no `batch`; its own version of `gpg` counts other
samples, and its `reinforce_plus_plus_baseline` treats single samples differently."""


def estimator_settings(name: str) -> dict[str, Any]:
    """Return the settings of verl for an estimator of `maspo.ADVANTAGES`; InputError where it has none."""
    if name in VERL_ADVANTAGES:
        return VERL_ADVANTAGES[name]
    if name in OUR_ADVANTAGES:
        return {"algorithm.adv_estimator": f"maspo.{name}"}
    from maspo.core.advantages import ADVANTAGES, ROLLOUT_ADVANTAGES

    able = sorted((*VERL_ADVANTAGES, *OUR_ADVANTAGES))
    if name in ADVANTAGES and name not in ROLLOUT_ADVANTAGES:
        raise InputError(
            f"advantages {name!r} need the earlier rewards of each prompt, which verl does not keep; "
            f"with verl take one of {', '.join(able)}"
        )
    raise unknown("advantage estimator", name, able)


DTYPES = {"float32": "fp32", "bfloat16": "bf16"}
"""The data types of weights."""

RELEASE_PREFIX = "maspo_"
"""Settings of the authors' release are those of `maspo.MASPO` with this before them."""

RELEASE_MODE = "maspo"
"""The `ratio_mode` of the authors' release; its other modes are verl's own losses."""

ENTRY_POINT = "maspo"
"""Our name in the group `verl.plugins`."""
