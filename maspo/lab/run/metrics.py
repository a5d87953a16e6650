"""What the keys of `metrics.jsonl` are: unit, meaning, and what is normal. The manual's page is made of it."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A key of `metrics.jsonl`, or several of one kind."""

    name: str
    """The key; `{}` stands for a name that the recipe gives, such as that of a reward."""
    unit: str
    meaning: str
    normal: str
    """What a healthy run shows, and which way trouble lies."""

    def fits(self, key: str) -> bool:
        """Whether this is the metric of that key."""
        pattern = re.escape(self.name).replace(re.escape("{}"), ".+")
        return re.fullmatch(pattern, key) is not None


SHARE = "share, 0 to 1"
_RUN = (
    ("step", "optimizer steps", "updates so far", "rises by 1 a line"),
    ("seconds", "s", "since training began", "rises evenly"),
    ("epoch", "passes over the data", "how often each problem was asked", "below 10; a problem asked often is learned by heart"),
    ("learning_rate", "", "of AdamW at this step", "as the schedule says"),
    ("step_time", "s", "of this step; the first of a rollout samples", "level; it grows with the completions' length"),
    ("num_tokens", "tokens", "of prompts and completions so far", "rises"),
)  # fmt: skip
_LEARNING = (
    ("reward", "reward", "mean over the rollout's completions of the weighted sum", "rises; 0 throughout means that nothing is learned"),
    ("reward_std", "reward", "spread over all completions of the rollout", "about 0.5 for a reward of 0 or 1 at one half"),
    ("rewards/{}/mean", "reward", "mean of one reward", "rises with the sum; one that falls is paid for by another"),
    ("rewards/{}/std", "reward", "spread of one reward", "above 0"),
    ("frac_reward_zero_std", SHARE, "groups whose completions all got the same reward: nothing to learn there", "below 0.8; 1 for ten rollouts is said once"),
    ("outcome/{}", SHARE, "completions with this verdict of the verifier", "correct rises; error and timeout are 0; unparsable falls early"),
    ("loss", "", "of the objective; no measure of progress", "about 0; its gradient is not"),
    ("grad_norm", "", "norm of the gradient before it is scaled down", "level; 0 means dead groups, jumps a rate too high"),
    ("entropy", "nats a token", "of the policy on its completions", "falls slowly; 0 with a low reward is collapse"),
    ("kl", "nats a token", "divergence from the initial model, where training.kl is set", "rises slowly; a jump is a rate too high"),
)  # fmt: skip
_GATE = (
    ("maspo/gate_mean", "factor", "weight / ratio, mean over the tokens with an advantage", "1 at the first update of a rollout, above 0.9 later; 1 always means that no gate acts"),
    ("maspo/gate_mean_pos", "factor", "the same where A > 0", "as gate_mean"),
    ("maspo/gate_mean_neg", "factor", "the same where A < 0", "as gate_mean; above 1 only with objectives that push"),
    ("maspo/gate_mean_prob_low", "factor", "the same for tokens that had less than 0.1 under the old policy", "as gate_mean; MASPO leaves these more room"),
    ("maspo/gate_mean_prob_mid", "factor", "the same for 0.1 to 0.9", "as gate_mean"),
    ("maspo/gate_mean_prob_high", "factor", "the same from 0.9", "nearest to 1: a likely token cannot move far up"),
    ("maspo/gate_active", SHARE, "tokens with a gate below 0.99", "below 0.1"),
    ("clip_ratio/region_mean", SHARE, "tokens whose gradient the objective cuts to 0", "below 0.05; 0 with a soft gate"),
    ("clip_ratio/low_mean", SHARE, "of those, with A < 0", "below 0.05"),
    ("clip_ratio/high_mean", SHARE, "of those, with A > 0", "below 0.05"),
    ("clip_ratio/low_min", SHARE, "the least over completions", "0"),
    ("clip_ratio/high_max", SHARE, "the most over completions", "below 0.5"),
    ("maspo/width_p10", "ratio", "10th percentile of the gate's width", "MASPO: about 1; it does not change with training"),
    ("maspo/width_p50", "ratio", "median of the gate's width", "MASPO: 1 to 1.2"),
    ("maspo/width_p90", "ratio", "90th percentile of the gate's width", "MASPO: 1 to 3.5; wide where many tokens were unlikely"),
    ("maspo/grad_mass_vs_clip", "factor", "Σ|w A| over the same sum under a clip of ± 0.2", "0.95 to 1.05 at a tuned rate"),
)  # fmt: skip
_MOVEMENT = (
    ("maspo/ratio_mean", "ratio", "π / π_old of the tokens with an advantage", "1 to within 0.05"),
    ("maspo/ratio_p99", "ratio", "what 1 % of the tokens exceed", "1 at the first update of a rollout, to 1.3 later; above 2 the rate is too high"),
    ("maspo/effective_ratio_mean", "ratio", "the weight: what is left of the ratio after the gate", "at most ratio_mean"),
)  # fmt: skip
_COMPLETIONS = (
    ("completions/mean_length", "tokens", "of a completion, end token included", "level, unless the task needs longer ones"),
    ("completions/min_length", "tokens", "the shortest", "above 1"),
    ("completions/max_length", "tokens", "the longest", "below the limit"),
    ("completions/clipped_ratio", SHARE, "completions that ran into the length limit", "below 0.1; such an answer is mostly wrong"),
    ("completions/{}_terminated_length", "tokens", "mean, least and most of those that ended by themselves", "as the lengths of all"),
    ("sampling/{}", "nats or ratio", "how far the probabilities of vLLM and of the trainer are apart; TRL's", "level and small: rounding; growing: weights that are not handed over"),
)  # fmt: skip
_SAVED = (
    ("maspo/rows_skipped", SHARE, "completions that needed no loss pass", "as frac_reward_zero_std"),
    ("maspo/update_skipped", SHARE, "updates left out since the last line, having no finite gradient", "0; five in a row end the run"),
)  # fmt: skip
_SECTIONS = {
    "The run": _RUN,
    "Learning": _LEARNING,
    "The gate": _GATE,
    "How far the policy moved": _MOVEMENT,
    "Completions": _COMPLETIONS,
    "Work and faults": _SAVED,
}

RUN_METRICS = {
    section: tuple(
        Metric(name=name, unit=unit, meaning=meaning, normal=normal)
        for name, unit, meaning, normal in rows
    )
    for section, rows in _SECTIONS.items()
}
"""Every metric of a run, by what it is about."""


def metric_of(key: str) -> Metric | None:
    """Return what is known of a key of `metrics.jsonl`; None for one that is not ours to describe."""
    known = (metric for metrics in RUN_METRICS.values() for metric in metrics)
    return next((metric for metric in known if metric.fits(key)), None)
