"""Where the processor time of group decoding goes.

    python benchmarks/decode_profile.py [--model embedded] [--prompts 32] [--record]
    python benchmarks/decode_profile.py --model 135M --prompts 4 --max-new-tokens 48

The prompts and settings are those of `rollout.py`, after one rollout to warm up. Parts are timed by the clock
of the process, which other work on the machine hardly sways. A part within another is named after it.
"""

from __future__ import annotations

import argparse
import functools
import time
import warnings
from collections import Counter
from typing import Any

import torch
from made_models import get_model
from record import record
from rollout import Rollout

from maspo.sampling import decode

PARTS = {
    "_run": "model", "choose": "choice of tokens", "append": "stopping", "drop_done": "rows that leave",
}  # fmt: skip
"""The parts of a step, by the method that does them."""

SETTINGS = ("model", "dtype", "prompts", "samples", "max_new_tokens")

SPENT: Counter[str] = Counter()


def watch(owner: Any, name: str, part: str) -> None:
    """Count the processor time of a function or method of `owner` as `part`."""
    step = getattr(owner, name)

    @functools.wraps(step)
    def timed(*args: Any, **kwargs: Any) -> Any:
        started = time.process_time()
        try:
            return step(*args, **kwargs)
        finally:
            SPENT[part] += time.process_time() - started

    setattr(owner, name, timed)


def watch_model(model: Any) -> None:
    """Watch the parts of a Llama."""
    projections = ("q_proj", "k_proj", "v_proj", "o_proj")
    for path, module in model.named_modules():
        name = path.rpartition(".")[2]
        if name in ("self_attn", "mlp", "lm_head"):
            watch(module, "forward", f"model/{name}")
        elif name in projections:
            watch(module, "forward", "model/self_attn/projections")
        elif "norm" in name:
            watch(module, "forward", "model/norms")
    watch(torch.nn.functional, "scaled_dot_product_attention", "model/self_attn/kernel")
    watch(decode.GrowingLayer, "update", "model/self_attn/cache")


def main() -> None:
    """Measure, print, and record with `--record`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    options.samples, options.engine = 8, "transformers"
    warnings.simplefilter("ignore")
    model, tokenizer = get_model(options.model, options.dtype)
    rollout = Rollout(model.eval(), tokenizer, options)
    watch_model(model)
    for name, part in PARTS.items():
        watch(decode._Batch, name, part)
    rollout.ours(0)
    SPENT.clear()
    started = time.process_time()
    rollout.ours(1)
    whole = time.process_time() - started
    shares = {part: round(spent / whole, 3) for part, spent in SPENT.most_common()}
    row = {
        **{name: getattr(options, name) for name in SETTINGS},
        "processor_seconds": round(whole, 2), "shares": shares,
    }  # fmt: skip
    for name, share in shares.items():
        print(f"{share:6.1%}  {name}")
    if options.record:
        record("decode_profile", row)


if __name__ == "__main__":
    main()
