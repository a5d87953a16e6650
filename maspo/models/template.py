"""Chat templates: how messages become the text that a model is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maspo.errors import InputError

PLAIN = "plain"
"""The word for prompts without a chat template: the messages' texts alone, as base models know them."""

_PLAIN = (
    "{% for message in messages %}{{ message['content'] }}"
    "{% if not loop.last %}{{ '\n\n' }}{% endif %}{% endfor %}"
)


def put_template(tokenizer: Any, source: str, asked: str | None) -> None:
    """Give a tokenizer the template that is asked for: `plain`, a file, or None for its own.

    `plain` begins with the beginning token where the tokenizer itself puts one. Raises InputError where
    there is no template, or no such file.
    """
    if asked == PLAIN:
        begins = tokenizer.bos_token_id is not None and tokenizer("a").input_ids[0] == (
            tokenizer.bos_token_id
        )
        tokenizer.chat_template = ("{{ bos_token }}" if begins else "") + _PLAIN
    elif asked is not None:
        try:
            tokenizer.chat_template = Path(asked).expanduser().read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the chat template {asked} cannot be read: {error}") from None
    elif tokenizer.chat_template is None:
        raise InputError(
            f"the tokenizer of {source!r} has no chat template; a recipe may set model.chat_template, "
            "and a command --chat-template, to a file with one, or to plain for the prompt alone, as base "
            "models are trained"
        )
