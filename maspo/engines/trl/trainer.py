"""GRPOTrainer with its policy term replaced by an objective of the library.

What is TRL's stays TRL's own code: the KL to the reference, vLLM's importance sampling, off-policy and
entropy masks, normalisers, metrics; `surrogate.py` says how the objective gets in between, and
`tests/test_trl_contract.py` pins what that relies on.

Every method of TRL's that has to do with a rollout or a loss is overridden here, once, in the order
in which a step calls them; checkpoints are `ResumableTrainer`'s.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

import torch
from accelerate.utils import DistributedType
from torch import Tensor

from maspo.core.rollout import rollout_weights
from maspo.engines.engine import TokenSink
from maspo.engines.trl.advantages import rollout_advantages
from maspo.engines.trl.callbacks import CollapseWarning, StallWarning
from maspo.engines.trl.colocated import vllm_is_ours
from maspo.engines.trl.compute_saving import ComputeSaving
from maspo.engines.trl.config import SCALE_REWARDS, MASPOConfig
from maspo.engines.trl.evidence import leave_out_savings, prove
from maspo.engines.trl.gate_log import GateLog, clip_ratios, drop_absent
from maspo.engines.trl.group_decoding import complete_rows
from maspo.engines.trl.handover import (
    Batch,
    LossPass,
    OldPolicyPass,
    Pass,
    RolloutPass,
    response_mask,
)
from maspo.engines.trl.model_card import CARD_NAME, CARD_PAPER, CARD_TAGS
from maspo.engines.trl.nonfinite_guard import BESIDE_TEXT, NonfiniteGuard
from maspo.engines.trl.passes import TextRows
from maspo.engines.trl.past import past_policies
from maspo.engines.trl.policy_scores import score_policy
from maspo.engines.trl.positions import forward_of
from maspo.engines.trl.reference import reference_is
from maspo.engines.trl.resumable import ResumableTrainer
from maspo.engines.trl.reward_check import check_rewards, naming_samples
from maspo.engines.trl.sharding import gathered, shard_on_cpus
from maspo.engines.trl.surrogate import put_objective
from maspo.errors import InputError
from maspo.sampling.group import Unsupported, say_once

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

    _is_the_proof = False
    """Whether this is the trainer by which an untested TRL is judged."""

    _name, _tag_names, _paper = CARD_NAME, CARD_TAGS, CARD_PAPER

    def __init__(
        self, model: Any, reward_funcs: Any = None, args: Any = None, *rest: Any, **kwargs: Any
    ) -> None:
        """Take what GRPOTrainer takes, with a MASPOConfig for `args`, or none: its defaults."""
        if args is None:
            args = MASPOConfig(f"{_name_of(model)}-MASPO")
        if not isinstance(args, MASPOConfig):
            raise InputError(f"args must be a MASPOConfig, not {type(args).__name__}")
        leave_out_savings(args)
        if not self._is_the_proof:
            prove(args.objective, MASPOTrainer)
        self.token_sink: TokenSink | None = None
        self._pass: Pass | None = None
        self._gate_logs = {"train": GateLog(), "eval": GateLog()}
        with reference_is(model), vllm_is_ours(args):
            super().__init__(model, reward_funcs, args, *rest, **kwargs)
        # TRL's surrogate with its clip open, which multiplies what we give it by the ratio of each token.
        self.epsilon_low = self.epsilon_high = math.inf
        self.importance_sampling_level = "token"
        self._past = past_policies(self)
        self._saving = ComputeSaving(self)
        self.guard = NonfiniteGuard(self)
        for advice in args.objective.advice(parameters=self.model.num_parameters()):
            args.complain(advice)
        self.add_callback(CollapseWarning(args.objective.when_unstable))
        self.add_callback(StallWarning(args.objective.when_unstable))

    def create_accelerator_and_postprocess(self) -> None:
        """Make the accelerator, which deals weights out on CPUs as well."""
        super().create_accelerator_and_postprocess()
        if shard_on_cpus(self.accelerator, self.args):
            kind = self.accelerator.distributed_type
            self.is_fsdp_enabled = kind is DistributedType.FSDP
            self.is_deepspeed_enabled = kind is DistributedType.DEEPSPEED

    # The rollout

    def _prepare_inputs(self, generation_batch: Any) -> Batch:
        every = self._saving.micro_batches * self.num_iterations
        new = self._step % every == 0 or self._buffered_inputs is None
        inputs: Any = super()._prepare_inputs(generation_batch)
        if not (new and self.model.training and self._buffered_inputs):
            return inputs
        self._saving.deal(self._buffered_inputs)
        waits = "old_per_token_logps" not in self._buffered_inputs[0]
        if self._saving.old_policy_may_wait and waits:
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
                output["old_per_token_logps"] = score_policy(self, [output], **seen)
        if self.args.correction:
            sampler = output["old_per_token_logps"]
            output["old_per_token_logps"] = old = score_policy(self, [output], **seen)
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
        generate = partial(
            super()._generate_single_turn, prompt_ids, images, multimodal_fields, *args, **kwargs
        )
        if self.use_vllm:
            return generate()
        plain = not (self.use_transformers_continuous_batching or multimodal_fields)
        # Under ZeRO-3 TRL gathers the weights, in complete_rows too.
        with gathered(self) if self.is_fsdp_enabled else nullcontext():
            if plain and self.args.group_decoding:
                try:
                    return complete_rows(self, prompt_ids), None
                except Unsupported as reason:
                    say_once(type(self.model).__name__, str(reason))
                except FloatingPointError as error:
                    self.guard.give_up(f"sampling failed: {error}")
            return generate()

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, *rest: Any) -> Tensor:
        names = self.reward_func_names
        with naming_samples(names, prompts, completions):
            rewards = super()._calculate_rewards(inputs, prompts, completions, *rest)
        check_rewards(rewards, names, prompts, completions, self.accelerator.process_index)
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

    def _score_old_policy(self, buffered: list[Batch]) -> None:
        """Score the old policy for the updates after the first, whose own pass serves it."""
        later = buffered[self._saving.window :]
        live = torch.cat([self._saving.rows_that_matter(one, training=True) for one in later])
        with self._handing_over(OldPolicyPass(live)):
            scored = score_policy(self, later)
        for batch, part in zip(later, scored.chunk(len(later)), strict=True):
            batch["old_per_token_logps"] = part

    # The loss of a micro-batch

    def _compute_loss(self, model: Any, inputs: Batch) -> Tensor:
        if self.model.training:
            self.guard.watch(inputs)
        live = self._saving.rows_that_matter(inputs, training=self.model.training)
        # A copy, because a generation batch is used again in every iteration on it.
        with self._handing_over(LossPass(dict(inputs), live)) as one:
            loss = super()._compute_loss(model, one.inputs)
        assert one.applied is not None
        if not self.model.training or self._step % self.args.diagnostics_every == 0:
            self._gate_logs[self._mode].add(one.applied.metrics())
        metrics: Any = self._metrics[self._mode]
        # TRL's clip is open and cut nothing off: the tokens that the objective did take its place.
        for name, ratio in clip_ratios(one.applied, self._sum_over_processes, self._gather).items():
            metrics[name][-1] = ratio
        self._saving.count_skipped(response_mask(inputs), live, metrics, self.accelerator)
        if self.token_sink is not None and self.model.training:
            self.token_sink(self.state.global_step, one.applied.batch, live)
        return loss

    # One run of the policy or the reference over completions, in a rollout and in a loss

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
        score = partial(super()._get_per_token_logps_and_entropies, compute_entropy=compute_entropy)
        if text_alone and not compute_aux_loss and self._saving.saves:
            text = TextRows(ids=input_ids, mask=attention_mask, completion=logits_to_keep)
            live = one.live if isinstance(one, OldPolicyPass | LossPass) else None
            most_rows = batch_size or len(input_ids)
            log_probs, entropies = self._saving.score(score, model, text, live, most_rows)
            aux_loss = None
        else:
            if text_alone:
                model = forward_of(model, self.accelerator.unwrap_model(model))
            log_probs, entropies, aux_loss = score(
                model, input_ids, attention_mask, logits_to_keep, batch_size=batch_size,
                compute_aux_loss=compute_aux_loss, **extras,
            )  # fmt: skip
        if isinstance(one, LossPass):
            put_objective(one, log_probs, entropies, self.args, self._sum_over_processes)
        return log_probs, entropies, aux_loss

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

    # What several of these need

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


def _name_of(model: Any) -> str:
    """Return the last part of a model's name, as TRL takes it for the output folder."""
    name = model if isinstance(model, str) else getattr(model.config, "_name_or_path", "")
    return name.rstrip("/").split("/")[-1] or type(model).__name__
