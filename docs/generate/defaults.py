"""What each default was chosen by. The values are the code's; the reasons stand here, once."""

from __future__ import annotations

import json

from generate.markdown import table

MASPO_RELEASE = "the authors' release"
OBJECTIVES = {
    "maspo": MASPO_RELEASE,
    "maspo_sequence": f"{MASPO_RELEASE}; the level is the ablation",
    "maspo_no_mass": f"{MASPO_RELEASE}; α = 0 is the ablation",
    "maspo_no_risk": f"{MASPO_RELEASE}; β = 0 is the ablation",
    "maspo_hard": f"{MASPO_RELEASE}; the shape is the ablation",
    "maspo_capped": f"{MASPO_RELEASE}; the cap is verl's `clip_ratio_c`",
    "maspo_calibrated": "ours: κ and the narrowest width before the races, one value each; "
    "its race is in the [ablation](../studies/ablation/report.md)",
    "maspo_drift": "ours: δ on two seeds of a trial, which no race uses",
    "grpo": "verl's `clip_ratio`",
    "dr_grpo": "the authors' release",
    "reinforce_pp": "verl's `clip_ratio`",
    "clip_higher": "DAPO's paper, arXiv:2503.14476",
    "dual_clip": "verl's `clip_ratio_c`",
    "rloo": "nothing to choose",
    "gpg": "nothing to choose",
    "sapo": "the paper",
    "sapo_one_sided": "SAPO's paper",
    "gate_erf": "SAPO's, since the paper of the shape is not known to publish any",
    "gate_arctan": "SAPO's, since the paper of the shape is not known to publish any",
    "gate_softsign": "SAPO's, since the paper of the shape is not known to publish any",
    "dac": "the paper",
    "dac_released": "the authors' code",
    "entropy_advantage": "the paper",
    "cispo": "weights to 5, as in ScaleRL; no lower bound, as in the paper",
    "gppo": "the paper's scripts",
    "ce_gppo": "the paper, for 1.5B",
    "ce_gppo_released": "the authors' code",
    "aspo": "the paper and the authors' release",
    "dppo_tv": "the paper; the cap of the weight is verl's",
    "dppo_kl": "the paper; the cap of the weight is verl's",
    "dgpo": "the authors' release",
    "dro": "Tinker's example",
    "gspo": "the paper",
    "gspo_token": "GSPO's paper",
    "luspo": "the paper, by TRL's notes",
    "gmpo": "the paper",
    "vespo": "the authors' release, and TRL",
    "bapo": "the paper, section 5.1",
    "bapo_released": "the configuration of the release; its ratio of 1.0 is a share of 0.5",
    "clip_cov": "the paper; ε the authors' scripts",
    "kl_cov": "the paper, for 7B",
    "ipo": "prime-rl's documentation",
    "icepop": "prime-rl",
    "cppo": "the paper",
    "real": "the paper",
    "drpo": "the paper",
    "fipo": "ms-swift; the cap the authors' script",
}
"""Who published the settings that an objective starts with."""

TRL = "TRL's default"
NOT_MEASURED = "not measured here"
LAPTOP = f"fits a laptop; {NOT_MEASURED} otherwise"
RECIPE = {
    "seed": "any number would do",
    "model.source": "the quickstart needs no download",
    "model.dtype": "in bfloat16 a step of 1e-6 does not move a weight of 1",
    "model.lora": "off: all weights are trained unless adapters are asked for",
    "model.lora.rank": f"{TRL}; {NOT_MEASURED}",
    "model.lora.alpha": f"{TRL}; {NOT_MEASURED}",
    "model.lora.dropout": "a dropout makes the first update's ratios differ from 1",
    "model.lora.target": f"every linear layer, as in QLoRA, arXiv:2305.14314; {NOT_MEASURED}",
    "data.source": "the quickstart needs no download",
    "data.template": "the problem as it is",
    "objective": "the paper that this package implements; [Choose](index.md) says what is known of it",
    "rollout.prompts": LAPTOP,
    "rollout.samples": TRL,
    "rollout.temperature": f"{TRL}: the policy itself is sampled",
    "rollout.top_p": f"{TRL}: the policy itself is sampled",
    "rollout.max_completion_tokens": LAPTOP,
    "rollout.engine": "needs nothing beside transformers",
    "rollout.staleness": "off: the current policy samples",
    "rollout.correction.mode": "truncated weights of tokens, TRL's correction of vLLM as well",
    "training.rollouts": LAPTOP,
    "training.updates_per_rollout": "[the first study](../studies/README.md): 4 were faster than 1, and 16 no higher than 4; the paper takes 16",
    "training.micro_batch": LAPTOP,
    "training.learning_rate": f"{TRL}, for models of billions of parameters; small ones want more: [tuning runs](../studies/addition/report.md)",
    "training.schedule": "a run can then be extended, and is the one that was longer from the start; TRL's is linear",
    "training.warmup_steps": TRL,
    "training.optimizer.name": f"{TRL}: one kernel, the same numbers up to rounding",
    "training.optimizer.betas": TRL,
    "training.optimizer.eps": TRL,
    "training.weight_decay": TRL,
    "training.max_grad_norm": TRL,
    "training.reduction": "the objective's paper; for those that name none `token-mean`, DAPO's and TRL's default",
    "training.advantages": "the objective's paper; for those that name none `group`, GRPO's and TRL's default",
    "training.kl": f"{TRL}: it spares the reference model",
    "training.precision": "bfloat16 where there is hardware for it",
    "training.gradient_checkpointing": "off: it costs time; [large models](../learn/one-gpu-and-eight.md#memory) need it; TRL's is on",
    "training.save_every": "a run that is killed loses at most ten rollouts",
    "training.keep": "what a run needs to be extended",
    "training.save_tokens": "about 1 MB a run",
    "evaluation.data.limit": LAPTOP,
    "evaluation.samples": "more problems narrow an interval, more samples hardly: [Statistics](../statistics.md)",
    "evaluation.temperature": "the policy that was trained is measured",
    "evaluation.top_p": "the policy that was trained is measured",
    "evaluation.batch_size": LAPTOP,
    "reward.time_limit": "math-verify's default",
    "reward.workers": "what the throughput of [the verifier](../verifier.md#limits) was measured with",
    "reward.verifier": "judgements that the rules were not written for: [how often it is right](../verifier.md#how-often-it-is-right)",
}  # fmt: skip
"""Why a recipe's key has its default; keys that are off or empty without one are not listed."""


def of_objectives() -> str:
    """Write who published the settings that each objective starts with."""
    from maspo.core.settings import settings_of
    from maspo.objectives import BUILT_IN

    rows = []
    for name, kind in BUILT_IN.items():
        own = [f for f, _ in settings_of(kind) if isinstance(f.default, int | float)]
        values = ", ".join(
            f"`{f.name}` {f.default:g}" for f in own if not isinstance(f.default, bool)
        )
        source = f"[arXiv:{kind.arxiv}](https://arxiv.org/abs/{kind.arxiv})"
        rows.append(
            (f"[`{name}`](../reference/objectives/{name}.md)", values, OBJECTIVES[name], source)
        )
    return table(("objective", "defaults", "chosen by", "paper"), rows)


def of_recipes() -> str:
    """Write why each key of a recipe has its default."""
    from maspo.recipes.reference import recipe_fields

    rows = [
        (f"`{field.key}`", f"`{json.dumps(field.default)}`", RECIPE[field.key])
        for field in recipe_fields()
        if field.key in RECIPE
    ]
    return table(("key", "default", "chosen by"), rows)
