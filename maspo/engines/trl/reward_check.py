"""Rewards that cannot be trained on are told with the sample that got them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from maspo.errors import InputError


@contextmanager
def naming_samples(
    functions: Sequence[str], prompts: Sequence[Any], completions: Sequence[Any]
) -> Iterator[None]:
    """Add a note to what reward functions raise in the block: their names, and what they scored."""
    try:
        yield
    except Exception as error:
        error.add_note(
            f"raised while {' and '.join(functions)} scored {len(completions)} "
            f"completions, the first of them {_shown(completions[0])} to {_shown(prompts[0])}"
        )
        raise


def check_rewards(
    rewards: Tensor,
    functions: Sequence[str],
    prompts: Sequence[Any],
    completions: Sequence[Any],
    process: int,
) -> None:
    """Raise InputError where a reward is infinite, in every process.

    Args:
        rewards: `[completions of all processes, functions]`, NaN where a function abstained.
        functions: names of the reward functions.
        prompts: of this process.
        completions: of this process, as many as every other has.
        process: index of this process.
    """
    infinite = rewards.isinf().any(1)
    if not infinite.any():
        return
    row = int(infinite.nonzero()[0])
    given = dict(zip(functions, rewards[row].tolist(), strict=True))
    here = row - process * len(completions)
    sample = ""
    if 0 <= here < len(completions):
        sample = f", {_shown(completions[here])} to {_shown(prompts[here])}"
    raise InputError(f"completion {row} of the batch{sample} has no finite reward: {given}")


def _shown(text: Any) -> str:
    """Write a prompt or a completion short enough for a sentence."""
    content = text if isinstance(text, str) else text[-1]["content"] if text else ""
    content = content if isinstance(content, str) else str(content)
    return repr(content if len(content) <= 200 else content[:200] + "...")
