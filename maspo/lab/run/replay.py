"""What other objectives would have made of the tokens that a run has seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maspo.core.batch import TokenBatch
from maspo.core.diagnostics import BANDS
from maspo.core.objective import Objective
from maspo.core.select import only
from maspo.lab.run.tokens import SavedBatch, load_tokens
from maspo.objectives import make_objective
from maspo.recipes import load_recipe

OWN = "this run"

SPACE = (
    "cosines are between the coefficients that two objectives put on ∇ log π of the same tokens, "
    "before the reduction; not between gradients of the parameters"
)


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What an objective did with tokens, as sums that add up over batches."""

    sums: Mapping[str, float]

    @classmethod
    def of(cls, objective: Objective, own: Objective, batch: TokenBatch) -> Replayed:
        """Compare an objective with the run's own on one batch."""
        live = batch.mask & (batch.advantages != 0)
        terms = objective.terms(batch)
        slopes = terms.slopes(batch.advantages)
        other = own.terms(batch).slopes(batch.advantages)
        plain = only(batch.ratio * batch.advantages, batch.mask)
        sums = {
            "tokens": live,
            "weight": only(terms.weights, live),
            "cut": live & (terms.weights == 0),
            "mass": slopes.abs(),
            "plain_mass": plain.abs(),
            "square": slopes**2,
            "own_square": other**2,
            "plain_square": plain**2,
            "with_own": slopes * other,
            "with_plain": slopes * plain,
        }
        for key, where in quadrants(batch).items():
            sums[f"mass {key}"] = only(slopes.abs(), where)
            sums[f"weight {key}"] = only(terms.weights, where)
            sums[f"gate {key}"] = only(terms.weights / terms.ratios_of(batch), where)
            sums[f"tokens {key}"] = where
        return cls(sums={name: float(x.double().sum()) for name, x in sums.items()})

    def __add__(self, other: Replayed) -> Replayed:
        """Pool two parts."""
        total = Counter(self.sums)
        total.update(other.sums)
        return Replayed(sums=dict(total))

    def share(self, part: str, whole: str) -> float:
        """Divide two sums; NaN where there is nothing."""
        below = self.sums[whole]
        return self.sums[part] / below if below else float("nan")

    def cosine(self, other: str) -> float:
        """Give the cosine with the coefficients of `own` or `plain`; NaN where one has none."""
        size = (self.sums["square"] * self.sums[f"{other}_square"]) ** 0.5
        return self.sums[f"with_{other}"] / size if size else float("nan")

    def figures(self) -> dict[str, float]:
        """List the figures of the table."""
        return {
            "mean_weight": self.share("weight", "tokens"),
            "share_kept": self.share("mass", "plain_mass"),
            "share_cut": self.share("cut", "tokens"),
            "cosine_to_run": self.cosine("own"),
            "cosine_to_plain": self.cosine("plain"),
        }

    def by_quadrant(self) -> dict[str, dict[str, float]]:
        """Give gate, weight and share of the gradient mass by band of π_old and sign of A."""
        return {
            key: {
                "tokens": self.sums[f"tokens {key}"],
                "gate_mean": self.share(f"gate {key}", f"tokens {key}"),
                "weight_mean": self.share(f"weight {key}", f"tokens {key}"),
                "mass": self.share(f"mass {key}", "mass"),
            }
            for key in QUADRANTS
        }


QUADRANTS = tuple(f"{band} {sign}" for sign in ("A > 0", "A < 0") for band in BANDS)


def quadrants(batch: TokenBatch) -> dict[str, Tensor]:
    """Mark the tokens of each band of π_old and sign of A."""
    q, found = batch.old_log_probs.exp(), {}
    for sign, side in (("A > 0", batch.advantages > 0), ("A < 0", batch.advantages < 0)):
        for band, (low, high) in BANDS.items():
            found[f"{band} {sign}"] = batch.mask & side & (q >= low) & (q < high)
    return found


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A run's tokens under several objectives."""

    run: str
    own: Objective
    batches: Sequence[SavedBatch]
    results: Mapping[str, Mapping[int, Replayed]]
    """By label, then by step; `OWN` is the run's objective."""

    def total(self, label: str) -> Replayed:
        """Pool the steps of one objective."""
        first, *rest = self.results[label].values()
        for one in rest:
            first = first + one
        return first

    def plain(self) -> dict[str, Any]:
        """Give everything as plain data."""
        return {
            "run": self.run,
            "objective": str(self.own),
            "note": SPACE,
            "steps": sorted({saved.step for saved in self.batches}),
            "completions": sum(saved.rows for saved in self.batches),
            "completions_seen": sum(saved.rows_seen for saved in self.batches),
            "tokens": int(self.total(OWN).sums["tokens"]),
            "objectives": {
                label: {
                    **self.total(label).figures(),
                    "by_probability_and_sign": self.total(label).by_quadrant(),
                    "by_step": {str(step): one.figures() for step, one in steps.items()},
                }
                for label, steps in self.results.items()
            },
        }


@torch.no_grad()
def replay(run: Path, objectives: Mapping[str, Mapping[str, Any]]) -> Replay:
    """Give the saved tokens of a run to other objectives, by label with name and hyperparameters.

    Objectives that couple the batch see a micro-batch at a time, as in training, and of it what was
    kept. Raises InputError where the run has no tokens, or not the inputs that an objective needs.
    """
    saved = load_tokens(run)
    own = load_recipe(str(run / "recipe.yaml")).make_objective()
    made = {OWN: own} | {label: make_objective(**words) for label, words in objectives.items()}
    results: dict[str, dict[int, Replayed]] = {}
    for label, objective in made.items():
        steps = results.setdefault(label, {})
        for one in saved:
            found = Replayed.of(objective, own, one.batch)
            steps[one.step] = steps[one.step] + found if one.step in steps else found
    return Replay(run=str(run), own=own, batches=saved, results=results)
