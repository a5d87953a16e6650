"""What decides whether a pass runs each prompt once: the prices in `pass_costs.py`, fitted to times.

    python benchmarks/prefix.py [--model embedded] [--dtype float32] [--repeats 5] [--record]

Passes over rows `[prompt completion]` are timed, forward and backward, with each prompt run once and once
for every row, over a grid of prompts, rows and lengths. Their times are fitted by

    plain    call + token (rows (prompt + completion))
    shared   2 call + token (prompts (prompt - 1) + rows (1 + completion + repeat x prompt))

with call and repeat in units of token. `chosen` is the share of grid points at which the prices in the
package name the faster way, `lost` the most time, as a share, that a wrong choice among them costs.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from itertools import product
from types import SimpleNamespace
from typing import Any

import torch
from made_models import get_model
from record import now, record
from trl import GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from maspo.engines.trl.pass_costs import PassCosts
from maspo.engines.trl.passes import TextRows
from maspo.engines.trl.shared_prefix import score_shared

PROMPTS, SAMPLES = (1, 4), (2, 8)
PROMPT_TOKENS, COMPLETION_TOKENS = (8, 32, 128, 384), (16, 128)
SCORE = GRPOTrainer._get_per_token_logps_and_entropies
TRAINER = SimpleNamespace(
    accelerator=SimpleNamespace(autocast=nullcontext, is_main_process=False), args=None
)


def score(model: Any, ids: torch.Tensor, mask: torch.Tensor, columns: int) -> Any:
    """Score rows with TRL's fused head."""
    return SCORE.__wrapped__(TRAINER, model, ids, mask, columns)  # type: ignore[attr-defined]


def seconds(run: Callable[[], torch.Tensor], repeats: int) -> float:
    """Time forward and backward, the fastest of some."""
    times = []
    for _ in range(repeats + 1):
        started = now()
        run().sum().backward()
        times.append(now() - started)
    return min(times[1:])


def main() -> None:
    """Measure, fit, print, and record with `--record`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = get_model(options.model, options.dtype)[0].to(device).train()
    add_fused_lm_head(model)
    equations, times, right, lost = [], [], [], [0.0]
    for distinct, samples, prompt, completion in product(
        PROMPTS, SAMPLES, PROMPT_TOKENS, COMPLETION_TOKENS
    ):
        rows = distinct * samples
        ids = torch.randint(4, model.config.vocab_size, (rows, prompt + completion), device=device)
        ids[:, :prompt] = ids[::samples, :prompt].repeat_interleave(samples, 0)
        text = TextRows(ids=ids, mask=torch.ones_like(ids), completion=completion)
        plain = seconds(
            lambda t=text: score(model, t.ids, t.mask, t.completion)[0], options.repeats
        )
        shared = seconds(lambda t=text: score_shared(score, model, model, t)[0], options.repeats)
        equations += [
            [1.0, rows * (prompt + completion), 0.0],
            [2.0, distinct * (prompt - 1) + rows * (1 + completion), rows * prompt],
        ]
        times += [plain, shared]
        costs = PassCosts.of(
            torch.tensor([[prompt, completion]] * rows, device=device),
            torch.arange(distinct).repeat_interleave(samples),
        )
        chosen = costs.sharing_pays(range(rows))
        right.append(chosen == (shared < plain))
        lost.append((shared if chosen else plain) / min(shared, plain) - 1)
        print(
            f"{distinct} x {samples} of {prompt}/{completion}: {plain / shared:.2f} {chosen}",
            flush=True,
        )
    left = torch.tensor(equations, dtype=torch.float64) / torch.tensor(times)[:, None]
    call, token, repeat = (
        torch.linalg.lstsq(left, torch.ones(len(times), 1).double()).solution[:, 0].tolist()
    )
    errors = (left @ torch.tensor([call, token, repeat]).double() - 1).abs().tolist()
    row = {
        "model": options.model, "dtype": options.dtype, "repeats": options.repeats,
        "call_tokens": round(call / token), "repeat_tokens": round(repeat / token, 3),
        "us_per_token": round(1e6 * token, 2), "misfit": round(statistics.median(errors), 3),
        "chosen": round(statistics.mean(right), 3), "lost": round(max(lost), 3),
    }  # fmt: skip
    for name, value in row.items():
        print(f"{name}: {value}")
    if options.record:
        record("prefix", row)


if __name__ == "__main__":
    main()
