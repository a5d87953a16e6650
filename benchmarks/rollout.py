"""Useful tokens per second of group decoding against stock `generate`, by turns in one process.

    python benchmarks/rollout.py [--model embedded] [--prompts 32] [--samples 8] [--record]
    python benchmarks/rollout.py --model SmolLM2-135M-Instruct.gguf --prompts 4 --dtype bfloat16

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
from record import matrix_rate, pairs, record, spread
from transformers import GenerationConfig

from maspo.data.arithmetic import arithmetic_problems
from maspo.models import load_model
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

    def ours(self, seed: int) -> float:
        """Return the useful tokens per second of group decoding."""
        return self._timed("ours", seed, self._complete)

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

    def _generate(self) -> int:
        out = self.model.generate(**self.padded, generation_config=self.config)
        ends = out[:, self.padded["input_ids"].shape[1] :] == self.end
        # A row's useful tokens are those with no end before them.
        return int(((ends.cumsum(1) - ends.long()) == 0).sum())


def main() -> None:
    """Measure, print, and record with `--record`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    model, tokenizer = load_model(options.model, options.dtype)
    model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    rollout = Rollout(model, tokenizer, options)
    before = matrix_rate(model.dtype, model.device)
    rates = pairs(rollout.ours, rollout.stock, options.repeats)
    rate = statistics.median([before, matrix_rate(model.dtype, model.device)])
    row = {
        "model": options.model.rpartition("/")[2], "dtype": options.dtype,
        "prompts": options.prompts, "samples": options.samples,
        "max_new_tokens": options.max_new_tokens, "repeats": options.repeats,
        "ratio": spread([ours / stock for ours, stock in rates]),
        "tokens_per_second": spread([ours for ours, _ in rates], 0),
        "stock_tokens_per_second": spread([stock for _, stock in rates], 0),
        "fraction_of_limit": round(statistics.median(rollout.compute["ours"][1:]) / rate, 3),
        "stock_fraction_of_limit": round(statistics.median(rollout.compute["stock"][1:]) / rate, 3),
    }  # fmt: skip
    for name, value in row.items():
        print(f"{name}: {value}")
    if options.record:
        record("rollout", row)


if __name__ == "__main__":
    main()
