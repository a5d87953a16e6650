"""Whether the prompts of a model may be shared: by its looks, and by one pass against the plain one."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from maspo.engines.trl.passes import ScorePass, TextRows
from maspo.engines.trl.shared_prefix import RowScores, objection

RunPass = Callable[[TextRows], RowScores]

CHECKED_ROWS = 4
"""Rows of the pass that is compared: as few as have a prompt in common, and no memory to speak of."""

CHECKED_GRADIENTS = 8
"""Parameters whose gradients are compared, spread over the model."""

FULL_TOLERANCE = 1e-4
"""Largest root mean square of the difference, relative to what is compared, where float32 rounds."""

HALF_TOLERANCE = 0.05
"""The same in half precision, where two plain passes of other widths differ by a hundredth."""


class PrefixCheck:
    """Remembers of each model whether its prompts may be shared, and says once why not."""

    def __init__(self, *, half: bool) -> None:
        """Start knowing no model; `half` says whether they compute in half precision by autocast."""
        self._half = half
        self._refused: set[tuple[int, str]] = set()
        self._compared: dict[tuple[int, bool], bool] = {}

    def admits(self, model: Any) -> bool:
        """Return whether `model`, without wrappers, is of a kind whose prompts can be shared."""
        reason = objection(model)
        if reason is not None:
            self._say(model, reason)
        return reason is None

    def agrees(
        self, model: Any, text: TextRows, one: ScorePass, plain: RunPass, shared: RunPass
    ) -> bool:
        """Compare a few rows of the first pass that shares its prompts, `one`, with the plain pass over them.

        Log-probabilities are compared, and gradients where the model is trained. Where they differ a
        warning says so, and the prompts of this model are not shared from then on.
        """
        checkpoints = any(getattr(m, "gradient_checkpointing", False) for m in model.modules())
        key = id(model), checkpoints
        if key not in self._compared:
            few = replace(one, rows=_few(text.prompts()[one.rows], one.rows))
            self._compared[key] = self._compare(model, text.part(few), plain, shared)
        return self._compared[key]

    def _compare(self, model: Any, text: TextRows, plain: RunPass, shared: RunPass) -> bool:
        trained = [p for p in model.parameters() if p.requires_grad]
        trained = trained[:: max(1, len(trained) // CHECKED_GRADIENTS)]
        try:
            with torch.enable_grad():
                pairs = zip(
                    *(_seen(run(text)[0], text, trained) for run in (plain, shared)), strict=True
                )
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            self._say(model, str(error).partition("\n")[0])
            return False
        distance = max(_distance(*pair) for pair in pairs)
        half = self._half or model.dtype in (torch.bfloat16, torch.float16)
        allowed = HALF_TOLERANCE if half else FULL_TOLERANCE
        if not distance <= allowed:
            warnings.warn(
                f"the log-probabilities or gradients of {type(model).__name__} with shared prompts differ "
                f"from those of the plain pass by {distance:.2g} of their size, where rounding explains "
                f"{allowed:g}: its prompts are run with every completion instead, as with "
                "share_prefix=False; please report it",
                stacklevel=2,
            )
        return distance <= allowed

    def _say(self, model: Any, reason: str) -> None:
        """Log why prompts are not shared, once for each model and reason."""
        if (id(model), reason) not in self._refused:
            self._refused.add((id(model), reason))
            log = logging.getLogger(__name__)
            log.warning("The prompts of %s are not shared: %s.", type(model).__name__, reason)


def _few(prompt_of: Tensor, rows: Tensor) -> Tensor:
    """Choose two rows of the prompt that most rows have, and one of each of the next prompts."""
    most = int(prompt_of.bincount().argmax())
    first, others = (prompt_of == most).nonzero()[:2, 0], (prompt_of != most).nonzero()[:, 0]
    chosen = torch.cat([first, others[: CHECKED_ROWS - 2]])
    return rows[chosen]


def _seen(log_probs: Tensor, text: TextRows, trained: Sequence[Tensor]) -> list[Tensor]:
    """Return what is compared: log-probabilities, and gradients of a sum of them with uneven weights."""
    kept = text.mask[:, -text.completion :].bool()
    chosen = log_probs[kept]
    if not trained:
        return [chosen.detach()]
    uneven = torch.linspace(-1, 1, chosen.numel(), device=chosen.device, dtype=chosen.dtype)
    gradients = torch.autograd.grad((chosen * uneven).sum(), trained, allow_unused=True)
    given = zip(trained, gradients, strict=True)
    return [chosen.detach(), *(torch.zeros_like(p) if g is None else g for p, g in given)]


def _distance(plain: Tensor, shared: Tensor) -> float:
    """Return the root mean square of the difference, relative to that of the plain one; NaN where one is."""
    plain, shared = plain.double(), shared.double()
    size, difference = (x.square().mean().sqrt().item() for x in (plain, plain - shared))
    return difference / size if size else difference
