"""GRPOTrainer with its policy term replaced by an objective of the library.

TRL's `_compute_loss` runs the model first and reads the advantages and the old log-probabilities
after that. So the objective is put in between: once the log-probabilities of a loss pass are known,
the batch gets advantages A' for which TRL's own surrogate, ratio times A', has the value and the
gradient of the objective, and TRL's clip is opened. TRL does all the rest with its own code: KL to
the reference (its bias correction sees the true ratio), vLLM importance sampling, off-policy mask,
entropy bonus and mask, normalisers, metrics. `tests/test_trl_contract.py` pins what this relies on.

Every method of TRL's that has to do with a rollout or a loss is overridden here, once, in the order
in which a step calls them; checkpoints are `ResumableTrainer`'s.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor
from trl.extras.profiling import profiling_context
from trl.models import unwrap_model_for_generation
from trl.models.utils import disable_gradient_checkpointing

from maspo.core.apply import apply_objective, with_slopes
from maspo.core.batch import MAX_LOG_RATIO, TokenBatch
from maspo.core.rollout import rollout_weights
from maspo.engines.engine import TokenSink
from maspo.engines.trl.advantages import rollout_advantages
from maspo.engines.trl.callbacks import CollapseWarning, StallWarning
from maspo.engines.trl.colocated import vllm_is_ours
from maspo.engines.trl.compute_saving import ComputeSaving
from maspo.engines.trl.config import SCALE_REWARDS, MASPOConfig
from maspo.engines.trl.gate_log import GateLog, clip_ratios, drop_absent
from maspo.engines.trl.handover import Batch, LossPass, OldPolicyPass, Pass, RolloutPass
from maspo.engines.trl.nonfinite_guard import BESIDE_TEXT, NonfiniteGuard
from maspo.engines.trl.passes import score_passes
from maspo.engines.trl.past import PastPolicies, check_budget
from maspo.engines.trl.positions import takes_positions, with_positions
from maspo.engines.trl.reference import reference_is
from maspo.engines.trl.resumable import ResumableTrainer
from maspo.errors import InputError
from maspo.sampling.group import Unsupported, say_once
from maspo.sampling.group import decode_rows as complete_rows

AnyPass = TypeVar("AnyPass", bound=Pass)


class MASPOTrainer(ResumableTrainer):
    """Trains with `args.objective`; everything else is GRPOTrainer.

    Logs what the gate did under `maspo/...` (see `maspo.core.diagnostics.gate_metrics`), exact over
    micro-batches and processes. TRL's `clip_ratio/...` count the tokens whose gradient the objective
    cuts to zero, which for GRPO are the clipped ones. A metric that nothing is known of is absent.

    Raises InputError where a reward is infinite, and RunError as `NonfiniteGuard` says.
    """

    args: MASPOConfig
    model: Any
    _buffered_inputs: list[Batch] | None

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
        self, model: Any, reward_funcs: Any = None, args: Any = None, *rest: Any, **kwargs: Any
    ) -> None:
        """Take what GRPOTrainer takes, with a MASPOConfig for `args`, or none: its defaults."""
        if args is None:
            args = MASPOConfig(f"{_name_of(model)}-MASPO")
        if not isinstance(args, MASPOConfig):
            raise InputError(f"args must be a MASPOConfig, not {type(args).__name__}")
        self.token_sink: TokenSink | None = None
        self._pass: Pass | None = None
        self._gate_logs = {"train": GateLog(), "eval": GateLog()}
        with reference_is(model), vllm_is_ours(args):
            super().__init__(model, reward_funcs, args, *rest, **kwargs)
        # TRL's surrogate with its clip open, which multiplies what we give it by the ratio of each token.
        self.epsilon_low = self.epsilon_high = math.inf
        self.importance_sampling_level = "token"
        self._past = self._keep_past(args)
        self._saving = ComputeSaving(self)
        self.guard = NonfiniteGuard(self)
        for advice in args.objective.advice(parameters=self.model.num_parameters()):
            args.complain(advice)
        self.add_callback(CollapseWarning(args.objective.when_unstable))
        self.add_callback(StallWarning(args.objective.when_unstable))

    def _keep_past(self, args: MASPOConfig) -> PastPolicies | None:
        """Return the memory of earlier weights that `args.staleness` needs; None where it is 0."""
        if not args.staleness:
            return None
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise InputError(
                "staleness needs all weights on every process, which FSDP and DeepSpeed spread: "
                "train without them"
            )
        check_budget(self.model, args.staleness, args.staleness_budget_gib)
        return PastPolicies(self.model, args.staleness)

    @property
    def _mode(self) -> str:
        return "train" if self.model.training else "eval"

    @property
    def _samples(self) -> int:
        """Completions of each prompt, which stand together in a rollout."""
        samples: Any = self.num_generations if self._mode == "train" else self.num_generations_eval
        return samples

    @contextmanager
    def _handing_over(self, one: AnyPass) -> Iterator[AnyPass]:
        self._pass = one
        try:
            yield one
        finally:
            self._pass = None

    def _sum_over_processes(self, sums: Tensor) -> Tensor:
        total: Any = self.accelerator.reduce(sums, reduction="sum")
        return total

    def _gather(self, rows: Tensor) -> Tensor:
        gathered: Any = self.accelerator.gather(rows)
        return gathered

    # The rollout

    def _prepare_inputs(self, generation_batch: Any) -> Batch:
        every = self._saving.micro_batches * self.num_iterations
        new = self._step % every == 0 or self._buffered_inputs is None
        inputs: Any = super()._prepare_inputs(generation_batch)
        if not (new and self.model.training and self._buffered_inputs):
            return inputs
        self._saving.deal(self._buffered_inputs)
        if self._old_policy_waits(self._buffered_inputs):
            self._score_old_policy(self._buffered_inputs)
        return self._buffered_inputs[self._step % self._saving.micro_batches]

    def _generate_and_score_completions(self, inputs: Any) -> Batch:
        self.guard.check_weights()
        if self._past is None or not self.model.training:
            return self._make_rollout(inputs)
        with self._past.in_place():
            output = self._make_rollout(inputs)
            seen = {name: output[name] for name in BESIDE_TEXT if name in output}
            if "old_per_token_logps" not in output:  # TRL takes it for the current policy's
                output["old_per_token_logps"] = self._score_policy([output], **seen)
        if self.args.correction:
            sampler = output["old_per_token_logps"]
            output["old_per_token_logps"] = old = self._score_policy([output], **seen)
            mask = response_mask(output)
            output["rollout_weights"] = rollout_weights(old, sampler, mask, **self.args.correction)
        return output

    def _make_rollout(self, inputs: Any) -> Batch:
        rollout = RolloutPass(self._saving.old_policy_may_wait and self.model.training)
        with self._handing_over(rollout):
            output: Any = super()._generate_and_score_completions(inputs)
        if rollout.old_policy_waits:
            del output["old_per_token_logps"]  # as where TRL has none
        if self.args.needs_groups:
            places = torch.arange(len(output["advantages"]), device=output["advantages"].device)
            output["groups"] = places // self._samples
        name = self.args.advantages
        if name is not None and name not in SCALE_REWARDS:
            assert rollout.rewards is not None
            self._replace_advantages(output, name, rollout.rewards)
        return output

    def _generate_single_turn(
        self, prompt_ids: Any, images: Any, multimodal_fields: Any, *args: Any, **kwargs: Any
    ) -> Any:
        plain = not (
            self.use_vllm or self.use_transformers_continuous_batching or multimodal_fields
        )
        if plain and self.args.group_decoding:
            try:
                return self._decode_in_groups(prompt_ids), None
            except Unsupported as reason:
                say_once(type(self.model).__name__, str(reason))
        return super()._generate_single_turn(prompt_ids, images, multimodal_fields, *args, **kwargs)

    def _decode_in_groups(self, prompt_ids: Any) -> list[list[int]]:
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
            try:
                return complete_rows(model, prompt_ids, self.generation_config)
            except FloatingPointError as error:
                self.guard.give_up(f"sampling failed: {error}")

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, *rest: Any) -> Tensor:
        try:
            rewards = super()._calculate_rewards(inputs, prompts, completions, *rest)
        except Exception as error:
            error.add_note(
                f"raised while {' and '.join(self.reward_func_names)} scored {len(completions)} "
                f"completions, the first of them {_shown(completions[0])} to {_shown(prompts[0])}"
            )
            raise
        lost = rewards.isinf().any(1)
        if lost.any():
            row = int(lost.nonzero()[0])
            given = dict(zip(self.reward_func_names, rewards[row].tolist(), strict=True))
            here = row - self.accelerator.process_index * len(completions)
            sample = (
                f", {_shown(completions[here])} to {_shown(prompts[here])}"
                if 0 <= here < len(completions)
                else ""
            )
            raise InputError(f"completion {row} of the batch{sample} has no finite reward: {given}")
        if isinstance(self._pass, RolloutPass):
            self._pass.rewards = rewards
        return rewards

    def _replace_advantages(self, output: Batch, name: str, rewards: Tensor) -> None:
        """Put the advantages of one of our estimators in place of TRL's, in the batch and in the log."""
        samples = self._samples
        lengths = self._gather(response_mask(output).sum(1))
        advantages = rollout_advantages(name, rewards, self.reward_weights, lengths, samples)
        here = len(output["advantages"])
        start = self.accelerator.process_index * here
        output["advantages"] = advantages[start : start + here]
        logged = self._logs["advantages"]
        for _ in range(min(len(advantages), len(logged))):
            logged.pop()
        logged.extend(advantages.tolist())

    def _old_policy_waits(self, buffered: list[Batch]) -> bool:
        """Whether the updates after the first still lack the old log-probabilities they need."""
        return self._saving.old_policy_may_wait and "old_per_token_logps" not in buffered[0]

    def _score_old_policy(self, buffered: list[Batch]) -> None:
        """Score the old policy for the updates after the first, whose own pass serves it."""
        later = buffered[self._saving.window :]
        live = torch.cat([self._saving.rows_that_matter(one, training=True) for one in later])
        with self._handing_over(OldPolicyPass(live)):
            scored = self._score_policy(later)
        for batch, part in zip(later, scored.chunk(len(later)), strict=True):
            batch["old_per_token_logps"] = part

    def _score_policy(self, batches: list[Batch], **seen: Any) -> Tensor:
        """Return log π of the completions of `batches`, `[rows, time]`; `seen` is what stands beside the text."""
        ids, mask = (
            torch.cat([torch.cat([b[f"prompt_{x}"], b[f"completion_{x}"]], dim=1) for b in batches])
            for x in ("ids", "mask")
        )
        checkpointing: Any = self.args.gradient_checkpointing_kwargs
        with torch.no_grad(), disable_gradient_checkpointing(self.model, checkpointing):
            scored, _, _ = self._get_per_token_logps_and_entropies(
                self.model,
                ids,
                mask,
                batches[0]["completion_ids"].size(1),
                batch_size=self.args.per_device_train_batch_size,
                **seen,
            )
        return scored

    # The loss

    def _compute_loss(self, model: Any, inputs: Batch) -> Tensor:
        if self.model.training:
            self.guard.watch(inputs)
        live = self._saving.rows_that_matter(inputs, training=self.model.training)
        # A copy, because a generation batch is used again in every iteration on it.
        with self._handing_over(LossPass(dict(inputs), live)) as one:
            loss = super()._compute_loss(model, one.inputs)
        assert one.applied is not None
        metrics: Any = self._metrics[self._mode]
        # TRL's clip is open and cut nothing off: the tokens that the objective did take its place.
        for name, ratio in clip_ratios(one.applied, self._sum_over_processes, self._gather).items():
            metrics[name][-1] = ratio
        self._saving.count_skipped(response_mask(inputs), live, metrics, self.accelerator)
        if self.token_sink is not None and self.model.training:
            self.token_sink(self.state.global_step, one.applied.batch, live)
        return loss

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **extras: Any,
    ) -> Any:
        one = self._pass
        text_alone = all(value is None for value in extras.values())
        if isinstance(one, RolloutPass) and one.old_policy_may_wait and model is self.model:
            # The policy is scored first, the reference after it. What was seen beside the text is
            # not kept in one piece, so only a pass over text can be made up for later.
            one.old_policy_may_wait, one.old_policy_waits = False, text_alone
            if text_alone:
                zeros = input_ids.new_zeros(len(input_ids), logits_to_keep, dtype=torch.float32)
                return zeros, None, None
        if text_alone and takes_positions(self.accelerator.unwrap_model(model)):
            model = with_positions(model)
        score = partial(
            super()._get_per_token_logps_and_entropies, model, compute_entropy=compute_entropy
        )
        most_rows = batch_size or len(input_ids)
        live = one.live if isinstance(one, OldPolicyPass | LossPass) else None
        passes = (
            self._saving.plan(attention_mask, logits_to_keep, live, most_rows)
            if text_alone and not compute_aux_loss
            else None
        )
        if passes is None:
            log_probs, entropies, aux_loss = score(
                input_ids, attention_mask, logits_to_keep, batch_size,
                compute_aux_loss=compute_aux_loss, **extras,
            )  # fmt: skip
        else:
            aux_loss = None
            log_probs, entropies = score_passes(
                score, input_ids, attention_mask, logits_to_keep, passes
            )
        if isinstance(one, LossPass):
            self._put_objective(one, log_probs, entropies)
        return log_probs, entropies, aux_loss

    def _put_objective(self, one: LossPass, log_probs: Tensor, entropies: Tensor | None) -> None:
        """Give the batch advantages and old log-probabilities that make TRL's loss the objective's."""
        old = one.inputs.get("old_per_token_logps")
        batch = TokenBatch.clean(
            log_probs,
            log_probs.detach() if old is None else old,
            one.inputs["advantages"],
            response_mask(one.inputs),
            entropies,
            self._sum_over_processes,
            one.inputs.get("groups"),
        )
        one.applied = applied = apply_objective(
            self.args.objective, batch, one.inputs.get("rollout_weights"), self.args.match_norm
        )
        # TRL multiplies A' by the ratio, whose own slope already contributes the value.
        values, slopes = applied.values, applied.slopes
        one.inputs["advantages"] = with_slopes(values, slopes - values, log_probs) / batch.ratio
        bounded = batch.log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
        one.inputs["old_per_token_logps"] = log_probs.detach() - bounded
        self._gate_logs[self._mode].add(applied.metrics())

    # The update

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm: Any = super()._get_grad_norm(model, grad_norm)
        self.guard.judge(model, norm)
        return norm

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.guard.in_a_row:  # the newest checkpoint stays one from before
            return
        self.guard.check_weights()
        super()._save_checkpoint(model, trial)

    def _unlogged(self) -> dict[str, Any]:
        past = [] if self._past is None else self._past.state()
        return {**super()._unlogged(), "gate": self._gate_logs["train"].state(), "past": past}

    def _restore(self, unlogged: dict[str, Any]) -> None:
        super()._restore(unlogged)
        self._gate_logs["train"].load(unlogged["gate"])
        if self._past is not None:
            self._past.load(unlogged["past"])

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the gate's metrics, pooled over micro-batches and processes, to the log."""
        mode = self._mode
        prefix = "eval_" if mode == "eval" else ""
        pooled = self._gate_logs[mode].pop(self._sum_over_processes)
        logs |= {prefix + name: mean for name, mean in pooled.items()}
        drop_absent(self._metrics[mode])
        super().log(logs, start_time)


def response_mask(inputs: Mapping[str, Any]) -> Tensor:
    """Mark the tokens that the policy wrote: those of the completion, without those of its tools."""
    mask = inputs["completion_mask"]
    return mask * inputs["tool_mask"] if "tool_mask" in inputs else mask


def _name_of(model: Any) -> str:
    """Return the last part of a model's name, as TRL takes it for the output folder."""
    name = model if isinstance(model, str) else getattr(model.config, "_name_or_path", "")
    return name.rstrip("/").split("/")[-1] or type(model).__name__


def _shown(text: Any) -> str:
    """Write a prompt or a completion short enough for a sentence."""
    content = text if isinstance(text, str) else text[-1]["content"] if text else ""
    content = content if isinstance(content, str) else str(content)
    return repr(content if len(content) <= 200 else content[:200] + "...")
