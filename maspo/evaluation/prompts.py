"""What a model is asked: templates for its family, and how much room its context leaves."""

from collections.abc import Sequence
from typing import Any

from maspo.models.load import ModelLimits
from maspo.models.source import EMBEDDED
from maspo.sampling.text import check_room

BARE = "{problem}"
BOXED = "{problem}\nPlease reason step by step, and put your final answer within \\boxed{}."
"""What Qwen and DeepSeek-R1 models are to be asked, by their cards."""

_MAX_TOKENS = 4096


def default_template(tokenizer: Any) -> str:
    """Give the template of the model's family: the embedded model was taught the bare problem."""
    embedded = (EMBEDDED / "chat_template.jinja").read_text(encoding="utf-8")
    return BARE if tokenizer.chat_template == embedded else BOXED


def token_budget(
    asked: int | None, limits: ModelLimits, prompts: Sequence[Sequence[int]]
) -> tuple[int, int]:
    """Settle the most tokens of a completion; return them, and of a prompt and it together.

    None asks for 4096, or what the context leaves beside the longest prompt. Raises InputError where
    the model cannot be asked these prompts, or the context holds less than was asked for.
    """
    longest = max(map(len, prompts))
    room = _MAX_TOKENS if limits.context is None else limits.context - longest
    tokens = asked or max(1, min(_MAX_TOKENS, room))
    check_room(prompts, limits, tokens, "--max-tokens")
    return tokens, longest + tokens
