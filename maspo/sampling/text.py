"""Between problems and tokens: prompts go in, completions come out."""

from collections.abc import Sequence
from typing import cast

from transformers import PreTrainedTokenizerBase

from maspo.data.problems import Problem
from maspo.sampling.interface import Row, Sample


def prompt_tokens(tokenizer: PreTrainedTokenizerBase, problem: Problem) -> list[int]:
    """Write the problem's messages by the tokenizer's chat template and encode them."""
    messages = list(problem.prompt)
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return tokenizer.encode(str(text), add_special_tokens=False)


def end_tokens(named: int | list[int] | None, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Give the tokens that end a sequence: those the model names, else the tokenizer's."""
    ends = cast(int | list[int] | None, tokenizer.eos_token_id if named is None else named)
    return {ends} if isinstance(ends, int) else set(ends or ())


def as_sample(
    tokenizer: PreTrainedTokenizerBase, row: Row, seed: int, ids: Sequence[int], finish: str
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
