"""What a model is asked: templates for its family, and how much room its context leaves."""

from collections.abc import Mapping, Sequence
from typing import Any

from maspo.data import Problem
from maspo.errors import InputError
from maspo.models.load import EMBEDDED
from maspo.sampling.text import prompt_tokens

BARE = "{problem}"
BOXED = "{problem}\nPlease reason step by step, and put your final answer within \\boxed{}."
"""What Qwen and DeepSeek-R1 models are to be asked, by their cards."""

_MAX_TOKENS = 4096


def default_template(tokenizer: Any) -> str:
    """Give the template of the model's family: the embedded model was taught the bare problem."""
    embedded = (EMBEDDED / "chat_template.jinja").read_text(encoding="utf-8")
    return BARE if tokenizer.chat_template == embedded else BOXED


def token_budget(
    asked: int | None,
    context: int | None,
    tokenizer: Any,
    problems: Mapping[str, Sequence[Problem]],
) -> tuple[int, int]:
    """Settle the most tokens of a completion; return them, and of a prompt and it together.

    None asks for 4096, or what the `context` leaves beside the longest prompt. Raises InputError
    where the context holds less than was asked for.
    """
    longest = max(len(prompt_tokens(tokenizer, one)) for each in problems.values() for one in each)
    room = None if context is None else context - longest
    tokens = asked or (_MAX_TOKENS if room is None else min(_MAX_TOKENS, room))
    if room is not None and not 0 < tokens <= room:
        raise InputError(
            f"the model's context of {context} tokens leaves {max(room, 0)} beside the longest "
            f"prompt of {longest}"
            + (f": lower --max-tokens from {asked}" if asked and room > 0 else "")
        )
    return tokens, longest + tokens
