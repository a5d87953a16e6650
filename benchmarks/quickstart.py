"""Time to train a recipe, ours against stock GRPOTrainer, by turns in one process.

    python benchmarks/quickstart.py [--recipe quickstart] [--rollouts 10] [--record]

Both train the same model on the same problems, with the same settings, number of rollouts and updates,
and the same verifier as the reward; stock TRL optimises GRPO, ours the recipe's objective. Each samples
by itself, so the completions differ after the first update; the ratio is that of seconds per
completion token that was sampled and trained on.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

from datasets import Dataset
from record import pairs, record, spread
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import set_seed
from trl import GRPOConfig, GRPOTrainer

from maspo.engines.trl import MASPOTrainer
from maspo.engines.trl.rewards import reward_functions, rows_of
from maspo.engines.trl.translate import trl_config
from maspo.models import load_model
from maspo.recipes import Recipe, load_recipe
from maspo.rewards import RewardSet

OURS_ALONE = ("objective", "updates_per_rollout", "advantages", "strict")


class Training:
    """A recipe, trained from the start at every call."""

    def __init__(self, recipe: Recipe, rewards: RewardSet, stock: bool) -> None:
        self.recipe, self.stock = recipe, stock
        problems, _ = recipe.problems()
        self.rows, self.rewards = rows_of(problems), reward_functions(rewards, problems)

    def __call__(self, repeat: int) -> float:
        """Train, and return microseconds per completion token."""
        set_seed(repeat)
        recipe = self.recipe.model_copy(update={"seed": repeat})
        args: Any = trl_config(recipe, Path(tempfile.mkdtemp()))
        kind: Any = MASPOTrainer
        if self.stock:
            kept = {f.name for f in fields(GRPOConfig) if f.init} - {"generation_batch_size"}
            args = GRPOConfig(**{name: getattr(args, name) for name in sorted(kept)})
            kind = GRPOTrainer
        model, tokenizer = load_model(recipe.model.source, recipe.model.dtype)
        trainer = kind(
            model, list(self.rewards), args, train_dataset=Dataset.from_list(self.rows),
            processing_class=tokenizer,
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
        lengths = [x["completions/mean_length"] for x in trainer.state.log_history if "reward" in x]
        tokens = sum(lengths) / len(lengths) * recipe.completions * recipe.training.rollouts
        return 1e6 * seconds / tokens


def main() -> None:
    """Measure, print, and record with `--record`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipe", default="quickstart")
    parser.add_argument("--rollouts", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    recipe = load_recipe(options.recipe, [*options.set, f"training.rollouts={options.rollouts}"])
    rewards = recipe.reward.start()
    ours, stock = (Training(recipe, rewards, stock=stock) for stock in (False, True))
    times = pairs(ours, stock, options.repeats)
    row = {
        "recipe": options.recipe, "set": options.set, "rollouts": options.rollouts,
        "repeats": options.repeats,
        "ratio": spread([stock / ours for ours, stock in times]),
        "us_per_token": spread([ours for ours, _ in times], 1),
        "stock_us_per_token": spread([stock for _, stock in times], 1),
    }  # fmt: skip
    for name, value in row.items():
        print(f"{name}: {value}")
    if options.record:
        record("quickstart", row)
    rewards.close()


if __name__ == "__main__":
    main()
