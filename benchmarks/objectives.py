"""Time and memory of every objective, forward and backward, against verl's and TRL's own functions.

    python benchmarks/objectives.py [--only NAME] [--repeats 21] [--threads N] [--record]

Each is called on the same float32 tensors, [64, 4096] and [512, 1024], by turns, so that a busy
moment hits all alike; times are medians over the repeats, ratios medians of the ratios within a
turn. verl and TRL are compared where they are installed. Memory is the peak of what torch allocates,
beyond the inputs. Where there is a GPU, it runs there.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from record import now, record, spread
from torch.profiler import ProfilerActivity, profile

import maspo

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SHAPES = [(64, 4096), (512, 1024)]
Loss = Callable[..., torch.Tensor]


def inputs(batch: int, tokens: int) -> dict[str, torch.Tensor]:
    """Draw the tensors that every candidate gets: ragged rows, groups of 8."""
    g = torch.Generator().manual_seed(0)
    old = -3 * torch.rand(batch, tokens, generator=g) ** 2
    lengths = torch.randint(tokens // 4, tokens + 1, (batch, 1), generator=g)
    drawn = {
        "old": old,
        "log_probs": old + 0.2 * torch.randn(batch, tokens, generator=g),
        "advantages": torch.randn(batch, 1, generator=g).expand(batch, tokens).contiguous(),
        "mask": (torch.arange(tokens) < lengths).float(),
        "entropies": torch.rand(batch, tokens, generator=g),
    }
    return {name: tensor.to(DEVICE) for name, tensor in drawn.items()}


def ours(name: str, diagnostics: bool) -> Loss:
    """Wrap `policy_loss`."""
    objective = maspo.OBJECTIVES[name]()

    def loss(log_probs, old, advantages, mask, entropies):
        return maspo.policy_loss(
            log_probs, old, advantages, mask,
            objective=objective, reduction="token-mean", entropies=entropies,
            diagnostics=diagnostics,
        ).loss  # fmt: skip

    return loss


VERL = {
    "dual_clip": "vanilla",
    "gspo_token": "gspo",
    "sapo": "sapo",
    "gpg": "gpg",
    "clip_cov": "clip_cov",
    "kl_cov": "kl_cov",
    "gmpo": "geo_mean",
    "dppo_tv": "dppo_tv",
    "dppo_kl": "dppo_kl",
    "dro": "dro",
    "cispo": "cispo",
}
"""Ours, and verl's name for it."""


def verls(name: str) -> Loss | None:
    """Wrap verl's registered function; None where verl is not installed."""
    try:
        from verl.trainer.ppo.core_algos import get_policy_loss_fn
        from verl.workers.config import FSDPActorConfig
    except ImportError:
        return None
    function = get_policy_loss_fn(name)
    config = FSDPActorConfig(
        strategy="fsdp", rollout_n=8, ppo_micro_batch_size_per_gpu=8, ppo_mini_batch_size=8
    )
    if name == "dro":
        object.__setattr__(config.policy_loss, "dro_beta", 0.05)

    def loss(log_probs, old, advantages, mask, entropies):
        return function(
            old_log_prob=old, log_prob=log_probs, advantages=advantages, response_mask=mask,
            loss_agg_mode="token-mean", config=config, rollout_is_weights=None,
        )[0]  # fmt: skip

    return loss


TRL = {"grpo": "dapo", "sapo": "sapo", "cispo": "cispo", "vespo": "vespo"}
"""Ours, and TRL's `loss_type`."""


def trls(loss_type: str) -> Loss | None:
    """Run TRL's `_compute_loss` on a trainer that has nothing but what it reads."""
    try:
        from trl import GRPOConfig, GRPOTrainer
    except ImportError:
        return None
    from collections import defaultdict

    args = GRPOConfig(
        output_dir="/tmp", bf16=False, use_cpu=True, report_to=[], loss_type=loss_type
    )
    same = SimpleNamespace(num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x)
    same.gather_for_metrics = same.gather

    class Bare(GRPOTrainer):
        """TRL's loss without TRL's trainer."""

        def __init__(self):
            self.args, self.accelerator = args, same
            self.model = torch.nn.Linear(1, 1)
            self.loss_type, self.beta = loss_type, 0.0
            self.epsilon_low, self.epsilon_high = 0.2, 0.2
            self.importance_sampling_level = "token"
            self.top_entropy_quantile, self.off_policy_mask_threshold = 1.0, None
            self.aux_loss_enabled = self.use_vllm = self._entropy_bonus_enabled = False
            self.current_gradient_accumulation_steps = 1
            self._metrics = {"train": defaultdict(list), "eval": defaultdict(list)}
            self.max_completion_length = 1

        def _get_per_token_logps_and_entropies(self, *_, **__):
            return self.given

    bare = Bare()

    def loss(log_probs, old, advantages, mask, entropies):
        bare.given = log_probs, entropies, None
        ids = mask.long()
        batch = {"prompt_ids": ids[:, :1], "prompt_mask": ids[:, :1], "completion_ids": ids}
        batch |= {"completion_mask": ids, "advantages": advantages, "old_per_token_logps": old}
        return bare._compute_loss(bare.model, batch | {"num_items_in_batch": ids.sum()})

    return loss


def once(loss: Loss, given: dict[str, torch.Tensor]) -> float:
    """Run forward and backward; return milliseconds."""
    leaf = given["log_probs"].detach().requires_grad_()
    started = now()
    loss(**{**given, "log_probs": leaf}).backward()
    return 1000 * (now() - started)


def peak_mib(loss: Loss, given: dict[str, torch.Tensor]) -> float:
    """Follow every allocation of one forward and backward; return the highest total in MiB."""
    if DEVICE.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        once(loss, given)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        once(loss, given)
    total = peak = 0
    for event in trace.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            total += event.nbytes()
            peak = max(peak, total)
    return peak / 2**20


def measure(name: str, shape: tuple[int, int], repeats: int) -> dict[str, Any]:
    """Time ours, with and without diagnostics, and what verl and TRL have, by turns."""
    given = inputs(*shape)
    candidates: dict[str, Loss | None] = {
        "ours": ours(name, diagnostics=False),
        "with diagnostics": ours(name, diagnostics=True),
        "verl": verls(VERL[name]) if name in VERL else None,
        "TRL": trls(TRL[name]) if name in TRL else None,
    }
    running = {label: loss for label, loss in candidates.items() if loss is not None}
    turns = [{label: once(loss, given) for label, loss in running.items()} for _ in range(repeats)]
    row: dict[str, Any] = {"objective": name, "shape": list(shape)}
    for label, loss in running.items():
        row[f"{label} ms"] = round(statistics.median(turn[label] for turn in turns), 2)
        row[f"{label} MiB"] = round(peak_mib(loss, given), 1)
        if label in ("verl", "TRL"):
            row[f"ours / {label}"] = spread([turn["ours"] / turn[label] for turn in turns])
    return row


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", action="append", choices=list(maspo.OBJECTIVES))
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # The allocator gives memory back and takes it anew, page by page, until it has seen larger
    # tensors than these: as those of any training step are.
    torch.zeros(31 * 2**20, dtype=torch.uint8)
    for shape in SHAPES:
        for name in options.only or maspo.OBJECTIVES:
            row = measure(name, shape, options.repeats)
            print(row, flush=True)
            if options.record:
                record("objectives", row)


if __name__ == "__main__":
    main()
