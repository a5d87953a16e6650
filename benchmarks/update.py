"""Time of the update phase, ours against stock TRL, by turns in one process.

    python benchmarks/update.py [--dead 0.5] [--lengths lognormal] [--record]
    python benchmarks/update.py --dead 0 --lengths equal
    python benchmarks/update.py --dead 0 --lengths equal --prompt-tokens 512 --completion-tokens 128
    python benchmarks/update.py --against bfloat16

The update phase is what follows sampling: scoring the old policy, and forward, backward and
optimizer steps of every update on the rollout. Sampling and rewards are replaced by fixed completions
whose lengths are lognormal (median a quarter of the longest) or all equal, and by rewards that are equal
throughout a share `dead` of the groups. Prompts are of 8 to 24 tokens, or all of `--prompt-tokens`.
Models of other sizes than the embedded one are made on the spot, of random weights. Both trainers start
from the same weights and get the same rollouts; stock TRL optimises its own GRPO loss, ours the same or, with
`--objective`, another one. With `--against bfloat16` the other is ours as well, under autocast to bfloat16.

`ratio` is of times, `processor_ratio` of the time that the process had a processor: other work on the machine
sways it less.

The fraction of the arithmetic limit is 2 x parameters x live tokens for each scoring pass that is needed and
3 x that for each update, over the rate of a matrix product measured in the same run. Peak memory is that of
a process of its own for either trainer, on one rollout: the most that was resident (of a GPU: allocated),
less what was before.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from typing import Any

import torch
from datasets import Dataset
from made_models import get_model
from record import matrix_rate, now, pairs, record, spread
from trl import GRPOConfig, GRPOTrainer

import maspo
from maspo.core.apply import Applied
from maspo.engines.trl import MASPOConfig, MASPOTrainer, trainer

SPENT: list[float] = []
"""Seconds that ours took for weights, and their hand-over to TRL's loss, of each micro-batch."""


def _timed(step: Any) -> Any:
    def timed(*args: Any) -> Any:
        started = time.perf_counter()
        found = step(*args)
        SPENT.append(time.perf_counter() - started)
        return found

    return timed


trainer.put_objective = _timed(trainer.put_objective)
Applied.metrics = _timed(Applied.metrics)


class Update:
    """A trainer on rollouts that are given to it."""

    def __init__(
        self,
        options: argparse.Namespace,
        ours: bool,
        vocabulary: int | None = None,
        half: bool = False,
    ) -> None:
        self.options = options
        model, tokenizer = get_model(options.model, options.dtype)
        if vocabulary is not None:
            model.resize_token_embeddings(vocabulary)
        rows = options.prompts * options.samples
        micro = rows // options.updates // options.accumulation
        common: dict[str, Any] = {
            "output_dir": tempfile.mkdtemp(), "per_device_train_batch_size": micro,
            "gradient_accumulation_steps": options.accumulation, "num_generations": options.samples,
            "max_completion_length": options.longest, "report_to": [], "bf16": half,
            "learning_rate": 1e-6, "use_cpu": not torch.cuda.is_available(), "loss_type": "dapo",
            "steps_per_generation": options.updates * options.accumulation,
            "gradient_checkpointing": options.checkpointing,
        }  # fmt: skip
        data = Dataset.from_dict({"prompt": [str(i) for i in range(rows)]})
        if ours:
            objective = maspo.make_objective(options.objective)
            args = MASPOConfig(
                **common, objective=objective, advantages=None, share_prefix=options.share
            )
            kind: Any = MASPOTrainer
        else:
            args, kind = GRPOConfig(**common), GRPOTrainer
        self.trainer = kind(
            model, self.rewards, args, train_dataset=data, processing_class=tokenizer
        )
        self.trainer._generate = self.completions
        self.trainer.current_gradient_accumulation_steps = options.accumulation
        self.trainer.create_optimizer()
        self.trainer.model.train()
        self.processor: list[float] = []

    def draw(self, repeat: int) -> None:
        """Draw prompts, completions and rewards of one rollout."""
        options, g = self.options, torch.Generator().manual_seed(repeat)
        rows, vocabulary = options.prompts * options.samples, self.trainer.model.config.vocab_size
        lengths = torch.full((rows,), options.longest)
        if options.lengths == "lognormal":
            draws = torch.randn(rows, generator=g).mul(0.7).add(math.log(options.longest / 4))
            lengths = draws.exp().long().clamp(2, options.longest)
        sizes = torch.randint(8, 25, (options.prompts,), generator=g)
        if options.prompt_tokens:
            sizes = torch.full_like(sizes, options.prompt_tokens)
        prompts, self.answers = (
            [torch.randint(4, vocabulary, (int(n),), generator=g).tolist() for n in some]
            for some in (sizes, lengths)
        )
        self.prompts = [prompt for prompt in prompts for _ in range(options.samples)]
        dead = torch.arange(options.prompts) < round(options.dead * options.prompts)
        scores = torch.arange(rows).view(options.prompts, -1) % 2
        self.scores = scores.masked_fill(dead[:, None], 0).flatten().float().tolist()
        live = ~dead.repeat_interleave(options.samples)
        self.live_tokens = int((sizes.repeat_interleave(options.samples) + lengths)[live].sum())

    def completions(self, prompts: Any) -> Any:
        """Stand in for sampling."""
        return self.prompts, self.answers, None, ["" for _ in self.answers], None, {}, None, None

    def rewards(self, **_: Any) -> list[float]:
        """Stand in for the verifier."""
        return self.scores

    def __call__(self, repeat: int) -> float:
        """Run the updates of one rollout and return the seconds."""
        self.draw(repeat)
        torch.manual_seed(repeat)
        trainer, options = self.trainer, self.options
        trainer._step = 0
        SPENT.clear()
        rollout = [{"prompt": ""} for _ in self.answers]
        started, used = now(), time.process_time()
        for step in range(options.updates * options.accumulation):
            inputs = trainer._prepare_inputs(rollout)
            trainer.compute_loss(trainer.model, inputs).backward()
            trainer._step += 1
            if (step + 1) % options.accumulation == 0:
                torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), 1.0)
                trainer.optimizer.step()
                trainer.model.zero_grad()
        self.objective_seconds = sum(SPENT)
        self.processor.append(time.process_time() - used)
        return now() - started


def resident() -> float:
    """Return the most memory that this process has had resident, or allocated of a GPU, in MiB."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def peak_in_a_process(side: str) -> float:
    """Run this command again for the peak memory of `ours` or `other`, in MiB."""
    words = [sys.executable, *sys.argv, "--peak", side]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure, print, and record with `--record`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--updates", type=int, default=4)
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--completion-tokens", dest="longest", type=int, default=256)
    parser.add_argument("--prompt-tokens", type=int)
    parser.add_argument("--dead", type=float, default=0.5)
    parser.add_argument("--lengths", choices=("lognormal", "equal"), default="lognormal")
    parser.add_argument("--objective", default="grpo")
    parser.add_argument("--against", choices=("stock", "bfloat16"), default="stock")
    parser.add_argument("--checkpointing", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--share", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--peak", choices=("ours", "other"), help=argparse.SUPPRESS)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    half = options.against == "bfloat16"
    if options.peak:
        one = Update(
            options, ours=half or options.peak == "ours", half=half and options.peak != "ours"
        )
        before = resident()
        one(0)
        return print(json.dumps(resident() - before))
    peaks = {side: round(peak_in_a_process(side)) for side in ("ours", "other")}
    ours, other = Update(options, ours=True), Update(options, ours=half, half=half)
    before = matrix_rate(ours.trainer.model.dtype, ours.trainer.model.device)
    times = pairs(ours, other, options.repeats)
    rate = statistics.median(
        [before, matrix_rate(ours.trainer.model.dtype, ours.trainer.model.device)]
    )
    parameters = ours.trainer.model.num_parameters()
    # Each live row is updated on once, and scored before in all updates but the first.
    work = 2 * parameters * ours.live_tokens * (3 + 1 - 1 / options.updates)
    row = {
        **{name: getattr(options, name) for name in (
            "prompts", "samples", "updates", "accumulation", "prompt_tokens", "longest", "dead", "lengths",
            "objective", "against", "checkpointing", "share", "dtype", "repeats",
        )},
        "model": options.model.rpartition("/")[2],
        "ratio": spread([other / ours for ours, other in times]),
        "processor_ratio": spread(
            [b / a for a, b in zip(ours.processor[1:], other.processor[1:], strict=True)]
        ),
        "seconds": spread([ours for ours, _ in times]),
        "other_seconds": spread([other for _, other in times]),
        "fraction_of_limit": round(work / rate / times[-1][0], 3),
        "other_fraction_of_limit": round(work / rate / times[-1][1], 3),
        "objective_share": round(ours.objective_seconds / times[-1][0], 4),
        "peak_mib": peaks["ours"], "other_peak_mib": peaks["other"],
    }  # fmt: skip
    for name, value in row.items():
        print(f"{name}: {value}")
    if options.record:
        record("update", row)


if __name__ == "__main__":
    main()
