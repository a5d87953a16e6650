"""The weights behind the page of `maspo explore`: computed by the objectives, packed for a browser."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import combinations, product
from typing import Any

import numpy as np
import torch

from maspo.core.batch import TokenBatch
from maspo.core.objective import GatedObjective, Objective
from maspo.core.settings import Setting, settings_of
from maspo.errors import InputError

_ABOVE = np.exp([*np.linspace(0, np.log(2), 71)[1:], *np.linspace(np.log(2), np.log(20), 59)[1:]])
HALF = len(_ABOVE)
"""Ratios on either side of 1: steps of 1% up to twofold, of 4% up to twentyfold."""
RATIO_GRID = np.array([*(1 / _ABOVE[::-1]), 1.0, *_ABOVE])
PROBABILITY_GRID = np.array(
    [d * 10**e for e in (-4, -3, -2, -1) for d in (1, 1.5, 2, 3, 5, 7)] + [0.9, 0.99]
)
ADVANTAGE_GRID = np.array([-4.0, -2, -1, -0.5, -0.25, 0.25, 0.5, 1, 2, 4])
FIRST_POSITIVE = 5
ENTROPY_GRID = np.array([0.0, 0.1, 0.5, 1, 2])
PROBES = PROBABILITY_GRID[[0, 13, 22]]
"""What is enough to see that a weight does not depend on the probability."""
SLACK = 1e-9
POSSIBLE = RATIO_GRID[None, :] * PROBABILITY_GRID[:, None] <= 1 + SLACK
"""Bool `[probability, ratio]`: the token's new probability is one."""

COMMON = ("soft_cap", "max_log_ratio", "off_policy_threshold")
"""Fields of every objective that the page leaves at their defaults, where they are off."""

SHARED = {f.name for f in fields(GatedObjective)}
LADDERS: dict[str, tuple[Any, ...]] = {
    "sigma_base": (0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0),
    "alpha": (0.0, 0.15, 0.3, 0.5, 0.8),
    "beta_pos": (0.0, 0.03, 0.1, 0.3),
    "beta_neg": (0.0, 0.03, 0.1, 0.3),
    "epsilon_low": (0.05, 0.1, 0.2, 0.3, 0.5),
    "epsilon_high": (0.05, 0.1, 0.2, 0.28, 0.5, 1.0),
    "cap": (None, 1.5, 2.0, 3.0, 5.0, 10.0),
    "sigma_high": (1.0, 2.0, 5.0, 10.0, None),
    "weight_cap": (1.5, 3.0, 5.0, 10.0, 20.0),
}
"""Values worth looking at; for a setting that is not here, its default times these factors."""
FACTORS = (0.25, 0.5, 2.0, 4.0)


@dataclass(frozen=True, kw_only=True)
class Dial:
    """A hyperparameter and the values at which it was computed."""

    name: str
    known: Setting
    stops: tuple[Any, ...]
    default: int
    """Index of the default among `stops`."""

    @property
    def others(self) -> list[int]:
        """The indices that are not the default."""
        return [i for i in range(len(self.stops)) if i != self.default]


Choice = tuple[tuple[int, int], ...]
"""The dials away from their defaults and where they stand, as (dial, stop)."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The weights of one objective, for every choice of at most two dials."""

    dials: list[Dial]
    inert: list[str]
    """Settings that made no difference to any token of the grid."""
    choices: list[Choice]
    values: np.ndarray
    """float16 `[choice, entropy, advantage, probability, ratio]`, axes without effect of length 1."""


def dials_of(kind: type[Objective]) -> list[Dial]:
    """List what can be turned on an objective, its own settings first; one value is no dial."""
    known = [(f, s) for f, s in settings_of(kind) if f.name not in COMMON]
    known.sort(key=lambda pair: pair[0].name in SHARED)
    dials = [_dial(f.name, f.default, s) for f, s in known]
    return [dial for dial in dials if len(dial.stops) > 1]


def _dial(name: str, default: Any, known: Setting) -> Dial:
    if isinstance(default, bool):
        stops: tuple[Any, ...] = (False, True)
    elif known.choices is not None:
        stops = known.choices
    else:
        ladder = {default, *LADDERS.get(name, ())}
        if name not in LADDERS and default is not None:
            ladder |= {float(f"{default * factor:.3g}") for factor in FACTORS}
        allowed = [value for value in ladder if known.allows(value)]
        # None switches a bound off: it stands beyond the largest.
        stops = tuple(sorted(allowed, key=lambda v: float("inf") if v is None else v))
    return Dial(name=name, known=known, stops=stops, default=stops.index(default))


def weights_on_grid(
    objective: Objective,
    probabilities: np.ndarray = PROBABILITY_GRID,
    *,
    advantages: np.ndarray = ADVANTAGE_GRID,
    ratios: np.ndarray = RATIO_GRID,
) -> np.ndarray:
    """Give the gradient per unit of A of single tokens, `[entropy, advantage, probability, ratio]`.

    The axes are one-dimensional; entropy has length 1 where it is not asked for. Each token is a
    sequence and a row of its own. The gradient counts whole: w, and what an objective adds to w A
    divided by A. Computed in float64, given in float32; NaN where the new probability would
    exceed 1.
    """
    entropies = ENTROPY_GRID if "entropies" in objective.inputs else ENTROPY_GRID[:1]
    axes = [torch.from_numpy(x) for x in (entropies, advantages, probabilities, ratios)]
    shape = [len(axis) for axis in axes]
    entropy, advantage, probability, ratio = (
        x.reshape(-1, 1) for x in torch.meshgrid(*axes, indexing="ij")
    )
    old = probability.log()
    batch = TokenBatch.clean(old + ratio.log(), old, advantage, torch.ones_like(old), entropy)
    slopes = objective.terms(batch).slopes(batch.advantages) / batch.advantages
    impossible = ratio * probability > 1 + SLACK
    return slopes.float().masked_fill(impossible, torch.nan).view(shape).numpy()


def tabulate(kind: type[Objective]) -> Sheet:
    """Compute an objective at its defaults and with every one and two of its dials turned."""
    default = weights_on_grid(kind())
    table: dict[Choice, np.ndarray] = {(): default}
    live: list[Dial] = []
    inert: list[str] = []
    for dial in dials_of(kind):
        found = _turned(kind, [dial], [((0, stop),) for stop in dial.others], PROBABILITY_GRID)
        if all(np.array_equal(v, default, equal_nan=True) for v in found.values()):
            inert.append(dial.name)
        else:
            table |= {((len(live), stop),): v for ((_, stop),), v in found.items()}
            live.append(dial)
    pairs = list(_pairs(live))
    blind = not any(map(_sees_probability, table.values()))
    both = _turned(kind, live, pairs, PROBES if blind else PROBABILITY_GRID)
    if blind and any(map(_sees_probability, both.values())):
        blind, both = False, _turned(kind, live, pairs, PROBABILITY_GRID)
    table |= both
    # The lowest probability leaves all ratios possible.
    stacked = np.stack([v[:, :, :1] if blind else v for v in table.values()])
    return Sheet(dials=live, inert=inert, choices=list(table), values=_reduced(stacked))


def _pairs(dials: list[Dial]) -> Iterator[Choice]:
    for (i, a), (j, b) in combinations(enumerate(dials), 2):
        for stops in product(a.others, b.others):
            yield (i, stops[0]), (j, stops[1])


def _turned(
    kind: type[Objective], dials: list[Dial], choices: list[Choice], probabilities: np.ndarray
) -> dict[Choice, np.ndarray]:
    """Compute the choices that the objective allows; some values contradict each other."""
    found = {}
    for choice in choices:
        try:
            objective = kind(**{dials[d].name: dials[d].stops[stop] for d, stop in choice})
        except InputError:
            continue
        found[choice] = weights_on_grid(objective, probabilities)
    return found


def _sees_probability(values: np.ndarray) -> bool:
    """Whether the weight differs between probabilities, where the token is possible."""
    return bool(((values != values[:, :, :1]) & ~np.isnan(values)).any())


def _reduced(values: np.ndarray) -> np.ndarray:
    """Round to float16, and drop the axes without effect: entropy, the size of A (not its sign)."""
    values = values.clip(max=np.finfo(np.float16).max).astype(np.float16)
    bits = values.view(np.uint16)  # compares NaN with NaN, and fast
    if (bits == bits[:, :1]).all():
        values, bits = values[:, :1], bits[:, :1]
    negative, positive = bits[:, :, :FIRST_POSITIVE], bits[:, :, FIRST_POSITIVE:]
    if (negative == negative[:, :, -1:]).all() and (positive == positive[:, :, :1]).all():
        values = values[:, :, FIRST_POSITIVE - 1 : FIRST_POSITIVE + 1]
    if values.shape[3] > 1:  # what is never shown repeats the last number, which costs nothing
        at = np.minimum(np.arange(len(RATIO_GRID)), POSSIBLE.sum(1)[:, None] - 1)
        values = np.take_along_axis(values, np.broadcast_to(at, values.shape), axis=4)
    return values


class Curves:
    """Half curves without repetition: the weights below ratio 1, or from it on."""

    def __init__(self) -> None:
        """Start empty."""
        self.numbers: dict[bytes, int] = {}

    def add(self, values: np.ndarray) -> np.ndarray:
        """Give the number of each curve, int32 of the shape of `values` without its last axis."""
        rows = np.ascontiguousarray(values.reshape(-1, values.shape[-1]))
        found = [self.numbers.setdefault(row.tobytes(), len(self.numbers)) for row in rows]
        return np.array(found, np.uint32).reshape(values.shape[:-1])

    def array(self) -> np.ndarray:
        """Give all curves as the bits of float16, uint16 `[curve, ratio]`."""
        return np.frombuffer(b"".join(self.numbers), np.uint16).reshape(len(self.numbers), -1)


def packed(tables: list[np.ndarray]) -> bytes:
    """Compress tables of unsigned integers: second differences along rows, byte by byte, gzip."""
    parts = []
    for table in tables:
        for _ in range(2):
            table = np.diff(table, axis=1, prepend=table.dtype.type(0))
        planes = np.ascontiguousarray(table).view(np.uint8).reshape(-1, table.itemsize)
        parts.append(planes.T.tobytes())
    return gzip.compress(b"".join(parts), 9, mtime=0)
