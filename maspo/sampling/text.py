"""Between problems and tokens: prompts go in, completions come out."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from transformers import PreTrainedTokenizerBase

from maspo.data.problems import Problem, check_last_turn
from maspo.errors import InputError
from maspo.models.load import ModelLimits
from maspo.sampling.interface import Sample, SampleKey

TemplateVariables = Mapping[str, Any] | None
"""Variables of a chat template beside the messages, such as `enable_thinking`."""


def prompt_tokens(
    tokenizer: Any, problem: Problem, chat_template_kwargs: TemplateVariables = None
) -> list[int]:
    """Write a problem's messages by the tokenizer's chat template and encode them.

    Training, its limit of prompt lengths and every evaluation ask what this returns. Raises InputError
    where the template refuses the messages, or the last of them is the model's own.
    """
    check_last_turn(problem)
    try:
        written = tokenizer.apply_chat_template(
            list(problem.prompt),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            **(chat_template_kwargs or {}),
        )
    except Exception as error:  # a template is a program, and may raise what it likes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"the chat template of the model cannot write the prompt of problem {problem.id!r}: {reason}"
        ) from None
    return list(written["input_ids"])


def check_template_variables(tokenizer: Any, chat_template_kwargs: TemplateVariables) -> None:
    """Raise InputError for a variable that the chat template does not read, or that is not the user's."""
    taken = inspect.signature(tokenizer.apply_chat_template).parameters
    for name in chat_template_kwargs or {}:
        if name in taken or name == "messages":
            raise InputError(f"chat_template_kwargs: {name} is not for a recipe to set")
        if name not in str(tokenizer.chat_template):
            raise InputError(f"chat_template_kwargs: the model's chat template has no {name}")


def check_room(
    prompts: Iterable[Sequence[int]], limits: ModelLimits, tokens: int, cure: str
) -> None:
    """Raise InputError where a model cannot be asked these prompts and answer with `tokens` each.

    That is where they are longer than its context together, or hold an id without an embedding. `cure`
    names the setting of `tokens`.
    """
    longest = highest = 0
    for ids in prompts:
        longest, highest = max(longest, len(ids)), max(highest, *ids)
    if limits.vocabulary is not None and highest >= limits.vocabulary:
        raise InputError(
            f"the chat template or a prompt uses token {highest}, but the model has embeddings for "
            f"{limits.vocabulary}: tokenizer and model do not belong together"
        )
    if limits.context is not None and longest + tokens > limits.context:
        room = max(limits.context - longest, 0)
        raise InputError(
            f"the model's context of {limits.context} tokens leaves {room} beside the longest prompt of "
            f"{longest}: " + (f"lower {cure} from {tokens}" if room else "leave out such prompts")
        )


def as_sample(
    tokenizer: PreTrainedTokenizerBase, row: SampleKey, seed: int, ids: Sequence[int], finish: str
) -> Sample:
    """Decode a completion that ends with its end token, if it has one."""
    return Sample(
        problem_id=row[0],
        index=row[1],
        seed=seed,
        text=cast(str, tokenizer.decode(list(ids), skip_special_tokens=True)),
        tokens=len(ids),
        finish=finish,
    )
