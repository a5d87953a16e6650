"""GRPOTrainer with its policy term replaced by an objective of the library.

TRL's `_compute_loss` runs the model first and reads the advantages and the old log-probabilities
after that. So the objective is put in between: once the log-probabilities of a loss pass are known,
the batch gets advantages A' for which TRL's own surrogate, ratio times A', has the value and the
gradient of the objective, and TRL's clip is opened. TRL does all the rest with its own code: KL to
the reference (its bias correction sees the true ratio), vLLM importance sampling, off-policy mask,
entropy bonus and mask, normalisers, metrics. `tests/test_trl_contract.py` pins what this relies on.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from trl.extras.profiling import profiling_context
from trl.models import unwrap_model_for_generation

from maspo.core.advantages import ADVANTAGES, estimate_advantages
from maspo.core.apply import Applied, apply_objective, with_slopes
from maspo.core.batch import MAX_LOG_RATIO, TokenBatch
from maspo.core.diagnostics import Mean
from maspo.engines.trl.collapse import CollapseWarning, StallWarning
from maspo.engines.trl.config import SCALE_REWARDS, MASPOConfig
from maspo.engines.trl.fast import FastTrainer
from maspo.engines.trl.guarded import GuardedTrainer, shown
from maspo.engines.trl.lasting import LastingTrainer
from maspo.errors import InputError
from maspo.sampling.group import complete_rows


class MASPOTrainer(GuardedTrainer, LastingTrainer, FastTrainer):
    """Trains with `args.objective`; everything else is GRPOTrainer.

    Logs what the gate did under `maspo/...` (see `maspo.core.diagnostics.gate_metrics`), exact over
    micro-batches and processes. TRL's `clip_ratio/...` count the tokens whose gradient the objective
    cuts to zero, which for GRPO are the clipped ones.

    Raises InputError where a reward is NaN or infinite.
    """

    args: MASPOConfig
    model: Any

    _tag_names: ClassVar = ["trl", "grpo", "maspo"]
    _name = "MASPO"
    _paper: ClassVar = {
        "title": "MASPO: Unifying Gradient Utilization, Probability Mass, and Signal Reliability for Robust "
        "and Sample-Efficient LLM Reasoning",
        "id": "2602.17550",
        "citation": textwrap.dedent("""\
            @inproceedings{fu2026maspo,
                title     = {{MASPO}: Unifying Gradient Utilization, Probability Mass, and Signal Reliability for Robust and Sample-Efficient {LLM} Reasoning},
                author    = {Fu, Xiaoliang and Lin, Jiaye and Fang, Yangyi and Zheng, Binbin and Hu, Chaowen and Shao, Zekai and Qin, Cong and Pan, Lu and Zeng, Ke and Cai, Xunliang},
                booktitle = {Proceedings of the 64th Annual Meeting of the Association for Computational Linguistics},
                year      = 2026,
                eprint    = {arXiv:2602.17550},
            }"""),
    }

    def __init__(
        self, model: Any, reward_funcs: Any = None, args: Any = None, **kwargs: Any
    ) -> None:
        """Take what GRPOTrainer takes, with a MASPOConfig for `args`."""
        if not isinstance(args, MASPOConfig):
            raise InputError(f"args must be a MASPOConfig, not {type(args).__name__}")
        self.token_sink: Callable[[int, TokenBatch, Tensor], None] | None = None
        self._loss_inputs: dict[str, Any] | None = None
        self._gate_totals: dict[str, dict[str, Mean]] = {"train": {}, "eval": {}}
        super().__init__(model, reward_funcs, args, **kwargs)
        self.epsilon_low = self.epsilon_high = math.inf
        for advice in args.objective.advice(parameters=self.model.num_parameters()):
            args.complain(advice)
        self.add_callback(CollapseWarning(args.objective.when_unstable))
        self.add_callback(StallWarning(args.objective.when_unstable))

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any]) -> Tensor:
        # A copy, because a generation batch is used again in every iteration on it.
        self._loss_inputs = dict(inputs)
        try:
            loss = super()._compute_loss(model, self._loss_inputs)
        finally:
            self._loss_inputs = None
        self._correct_clip_ratios()
        return loss

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        result = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        if self._loss_inputs is not None:  # not for the passes that score old and reference policy
            self._install_objective(self._loss_inputs, result[0], result[1])
        return result

    def _install_objective(
        self, inputs: dict[str, Any], log_probs: Tensor, entropies: Tensor
    ) -> None:
        """Give the batch advantages and old log-probabilities that make TRL's loss the objective's."""
        mask = response_mask(inputs)
        old = inputs.get("old_per_token_logps")
        old = log_probs.detach() if old is None else old
        batch = TokenBatch.clean(
            log_probs, old, inputs["advantages"], mask, entropies, self._sum_over_processes
        )
        applied = apply_objective(self.args.objective, batch)
        # TRL multiplies A' by the ratio, whose own slope already contributes the value.
        values, slopes = applied.values, applied.slopes
        inputs["advantages"] = with_slopes(values, slopes - values, log_probs) / batch.ratio
        bounded = batch.log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
        inputs["old_per_token_logps"] = log_probs.detach() - bounded
        self._record(applied)

    def _record(self, applied: Applied) -> None:
        """Add what the gate did to the running totals, and keep which tokens it cut off."""
        totals = self._gate_totals[self._mode]
        batch, found = applied.batch, applied.metrics()
        self._gate_totals[self._mode] = {
            name: totals[name] + mean if name in totals else mean for name, mean in found.items()
        }
        cut = batch.mask & (applied.terms.weights == 0)
        low = cut & (batch.advantages < 0) & (batch.ratio < 1)
        high = cut & (batch.advantages > 0) & (batch.ratio > 1)
        self._cut = low, high, batch.mask
        if self.token_sink is not None and self._mode == "train" and self._live is not None:
            self.token_sink(self.state.global_step, batch, self._live)

    def _correct_clip_ratios(self) -> None:
        """Put the tokens that the objective cut off in place of those that TRL's open clip did not."""
        low, high, mask = self._cut
        sums = torch.stack([low.sum(), high.sum(), (low | high).sum(), mask.sum()]).float()
        *counts, tokens = self._sum_over_processes(sums).tolist()
        rows = self.accelerator.gather(torch.stack([low.sum(1), high.sum(1), mask.sum(1)], dim=1))
        rows = rows[rows[:, 2] > 0]
        values = dict(zip(("low_mean", "high_mean", "region_mean"), counts, strict=True))
        values = {name: count / max(tokens, 1.0) for name, count in values.items()}
        values["low_min"] = (rows[:, 0] / rows[:, 2]).min().item() if len(rows) else math.nan
        values["high_max"] = (rows[:, 1] / rows[:, 2]).max().item() if len(rows) else math.nan
        for name, value in values.items():
            self._metrics[self._mode][f"clip_ratio/{name}"][-1] = value

    def _sum_over_processes(self, sums: Tensor) -> Tensor:
        total: Any = self.accelerator.reduce(sums, reduction="sum")
        return total

    @property
    def _mode(self) -> str:
        return "train" if self.model.training else "eval"

    def _generate_single_turn(
        self, prompt_ids: Any, images: Any, multimodal_fields: Any, *args: Any, **kwargs: Any
    ) -> Any:
        plain = not (
            self.use_vllm or self.use_transformers_continuous_batching or multimodal_fields
        )
        if not (plain and self.args.group_decoding):
            return super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, *args, **kwargs
            )
        checkpointing: Any = self.args.gradient_checkpointing_kwargs
        with (
            profiling_context(self, "transformers.generate"),
            unwrap_model_for_generation(
                self.model_wrapped,
                self.accelerator,
                gather_deepspeed3_params=self.args.ds3_gather_for_generation,
                generation_kwargs=self.generation_kwargs,
                gradient_checkpointing_kwargs=checkpointing,
            ) as model,
            self._dist.summon_full_params(self.model_wrapped, recurse=False),
        ):
            return complete_rows(model, prompt_ids, self.generation_config), None

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, *rest: Any) -> Tensor:
        rewards = super()._calculate_rewards(inputs, prompts, completions, *rest)
        # None of one function among several abstains; a row without any reward spoils its group.
        lost = rewards.isnan().all(1) | rewards.isinf().any(1)
        if lost.any():
            row = int(lost.nonzero()[0])
            given = dict(zip(self.reward_func_names, rewards[row].tolist(), strict=True))
            here = row - self.accelerator.process_index * len(completions)
            sample = (
                f", {shown(completions[here])} to {shown(prompts[here])}"
                if 0 <= here < len(completions)
                else ""
            )
            raise InputError(f"completion {row} of the batch{sample} has no finite reward: {given}")
        self._rewards = rewards
        return rewards

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        name = self.args.advantages
        if name is not None and name not in SCALE_REWARDS:
            self._replace_advantages(output, name)
        return output

    def _replace_advantages(self, output: dict[str, Any], name: str) -> None:
        """Put the advantages of one of our estimators in place of TRL's, in the batch and in the log."""
        samples: Any = self.num_generations if self._mode == "train" else self.num_generations_eval
        # As TRL: a function that abstains from a completion, with NaN, adds nothing to its reward.
        rewards = (self._rewards * self.reward_weights.to(self._rewards.device)).nansum(1)
        lengths = None
        if "lengths" in ADVANTAGES[name].inputs:
            gathered: Any = self.accelerator.gather(response_mask(output).sum(1))
            lengths = gathered.view(-1, samples)
        rewards = rewards.view(-1, samples)
        advantages = estimate_advantages(rewards, name, lengths=lengths).flatten()
        here = len(output["advantages"])
        start = self.accelerator.process_index * here
        output["advantages"] = advantages[start : start + here]
        logged = self._logs["advantages"]
        for _ in range(min(len(advantages), len(logged))):
            logged.pop()
        logged.extend(advantages.tolist())

    def _unlogged(self) -> dict[str, Any]:
        gate = {
            name: (mean.total, mean.weight) for name, mean in self._gate_totals["train"].items()
        }
        return {**super()._unlogged(), "gate": gate}

    def _restore(self, unlogged: dict[str, Any]) -> None:
        super()._restore(unlogged)
        self._gate_totals["train"] = {name: Mean(*sums) for name, sums in unlogged["gate"].items()}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the gate's metrics, pooled over micro-batches and processes, to the log."""
        totals, self._gate_totals[self._mode] = self._gate_totals[self._mode], {}
        if totals:
            sums = torch.stack(
                [torch.stack([m.total, m.weight.to(m.total)]) for m in totals.values()]
            )
            prefix = "eval_" if self._mode == "eval" else ""
            pooled = self._sum_over_processes(sums).tolist()
            for name, (total, weight) in zip(totals, pooled, strict=True):
                if weight:
                    logs[prefix + name] = total / weight
        super().log(logs, start_time)


def response_mask(inputs: Mapping[str, Any]) -> Tensor:
    """Mark the tokens that the policy wrote: those of the completion, without those of its tools."""
    mask = inputs["completion_mask"]
    return mask * inputs["tool_mask"] if "tool_mask" in inputs else mask
