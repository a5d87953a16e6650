"""Useful tokens per second of group decoding, or of vLLM, against stock `generate`, by turns in one process.

    python benchmarks/rollout.py [--model embedded] [--prompts 32] [--samples 8] [--record]
    python benchmarks/rollout.py --model SmolLM2-135M-Instruct.gguf --prompts 4 --dtype bfloat16
    python benchmarks/rollout.py --model SmolLM2-135M-Instruct.gguf --prompts 4 --dtype bfloat16 --engine vllm

With vLLM, TRL's colocated one as a recipe starts it, a rollout begins with the hand-over of the weights.
Both complete the same arithmetic prompts with the settings of TRL's rollout (temperature 1, no
filter). A useful token is one that a completion keeps. The fraction of the arithmetic limit is
2 x parameters x live tokens (each prompt once, every useful token) over the rate of a matrix
product measured between the repeats.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
from made_models import get_model
from record import matrix_rate, pairs, record, spread
from transformers import GenerationConfig

from maspo.data.arithmetic import arithmetic_problems
from maspo.sampling.group import complete


class Rollout:
    """One batch of prompts, and how long either way takes to complete it."""

    def __init__(self, model: Any, tokenizer: Any, options: argparse.Namespace) -> None:
        self.model, self.samples = model, options.samples
        problems = arithmetic_problems(options.prompts, seed=0, split="train")
        texts = [
            tokenizer.apply_chat_template(
                list(problem.prompt), tokenize=False, add_generation_prompt=True
            )
            for problem in problems
        ]
        self.prompts = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
        repeated = [text for text in texts for _ in range(self.samples)]
        self.padded = tokenizer(
            repeated, return_tensors="pt", padding=True, add_special_tokens=False
        ).to(model.device)
        self.end = tokenizer.eos_token_id
        self.config = GenerationConfig(
            max_new_tokens=options.max_new_tokens, do_sample=True, temperature=1.0, top_k=0,
            top_p=1.0, eos_token_id=self.end, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        self.compute: dict[str, list[float]] = {"ours": [], "stock": []}
        self.hand_over: list[float] = []
        self.vllm: Any = _vllm(model, tokenizer, options) if options.engine == "vllm" else None

    def ours(self, seed: int) -> float:
        """Return the useful tokens per second of group decoding, or of vLLM."""
        return self._timed("ours", seed, self._sample if self.vllm else self._complete)

    def stock(self, seed: int) -> float:
        """Return the useful tokens per second of `generate`."""
        return self._timed("stock", seed, self._generate)

    def _timed(self, name: str, seed: int, decode: Any) -> float:
        torch.manual_seed(seed)
        started = time.perf_counter()
        tokens = decode()
        seconds = time.perf_counter() - started
        live = tokens + sum(map(len, self.prompts))
        self.compute[name].append(2 * self.model.num_parameters() * live / seconds)
        return tokens / seconds

    def _complete(self) -> int:
        drawn = complete(self.model, self.prompts, self.samples, self.config)
        return sum(len(completion) for group in drawn for completion in group)

    def _sample(self) -> int:
        started = time.perf_counter()
        self.vllm.sync_weights()
        self.hand_over.append(time.perf_counter() - started)
        rows = [prompt for prompt in self.prompts for _ in range(self.samples)]
        return sum(map(len, self.vllm.generate(rows, None, self.samples)[1]))

    def _generate(self) -> int:
        out = self.model.generate(**self.padded, generation_config=self.config)
        ends = out[:, self.padded["input_ids"].shape[1] :] == self.end
        # A row's useful tokens are those with no end before them.
        return int(((ends.cumsum(1) - ends.long()) == 0).sum())


def _vllm(model: Any, tokenizer: Any, options: argparse.Namespace) -> Any:
    """Start TRL's colocated vLLM as a recipe does."""
    from accelerate import Accelerator

    from maspo.engines.trl import MASPOConfig
    from maspo.engines.trl.colocated import Generation

    cpu = model.device.type == "cpu"
    args = MASPOConfig(output_dir="unused", bf16=model.dtype == torch.bfloat16, use_cpu=cpu)
    return Generation(
        model, Accelerator(cpu=cpu), tokenizer, args=args,
        max_model_length=1024, max_num_seqs=options.prompts * options.samples,
        gpu_memory_utilization=0.3, temperature=1.0, max_completion_length=options.max_new_tokens,
    )  # fmt: skip


def main() -> None:
    """Measure, print, and record with `--record`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--engine", choices=("transformers", "vllm"), default="transformers")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    model, tokenizer = get_model(options.model, options.dtype)
    model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    rollout = Rollout(model, tokenizer, options)
    before = matrix_rate(model.dtype, model.device)
    rates = pairs(rollout.ours, rollout.stock, options.repeats)
    rate = statistics.median([before, matrix_rate(model.dtype, model.device)])
    row = {
        "model": options.model.rpartition("/")[2], "dtype": options.dtype,
        "engine": options.engine, "prompts": options.prompts, "samples": options.samples,
        "max_new_tokens": options.max_new_tokens, "repeats": options.repeats,
        "ratio": spread([ours / stock for ours, stock in rates]),
        "tokens_per_second": spread([ours for ours, _ in rates], 0),
        "stock_tokens_per_second": spread([stock for _, stock in rates], 0),
        "fraction_of_limit": round(statistics.median(rollout.compute["ours"][1:]) / rate, 3),
        "stock_fraction_of_limit": round(statistics.median(rollout.compute["stock"][1:]) / rate, 3),
    }  # fmt: skip
    if rollout.hand_over:
        row["hand_over_seconds"] = spread(rollout.hand_over[1:])
    for name, value in row.items():
        print(f"{name}: {value}")
    if options.record:
        record("rollout", row)


if __name__ == "__main__":
    main()
