"""Our advantage estimators on the rewards of a rollout of TRL's."""

from __future__ import annotations

from torch import Tensor

from maspo.core.advantages import ADVANTAGES, estimate_advantages


def rollout_advantages(
    name: str, rewards: Tensor, weights: Tensor, lengths: Tensor, samples: int
) -> Tensor:
    """Estimate the advantages of all processes' completions, `[completions]`.

    As in TRL, a function that abstains from a completion adds nothing to its reward, and a completion
    that all functions abstain from is left out: it has no part in any mean, and advantage 0.

    Args:
        name: an estimator in `maspo.ADVANTAGES` that needs no history.
        rewards: `[completions, functions]`, NaN where a function abstained.
        weights: of the functions, `[functions]`.
        lengths: response tokens, int `[completions]`.
        samples: completions of each prompt, which stand together.
    """
    scored = ~rewards.isnan().all(1)
    total = (rewards * weights.to(rewards)).nansum(1)
    estimated = estimate_advantages(
        total.view(-1, samples),
        name,
        lengths=lengths.view(-1, samples) if "lengths" in ADVANTAGES[name].inputs else None,
        scored=scored.view(-1, samples),
    )
    return estimated.flatten()
