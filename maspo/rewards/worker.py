r"""What runs in a worker process: one completion against one reference answer by math-verify.

math-verify's own timeouts are off: they rest on SIGALRM, and the process pool has a hard limit.
Keep this module light: every worker imports it, and none may import torch.
"""

import logging
import resource
import sys
import warnings
from functools import lru_cache
from typing import Any

from math_verify import LatexExtractionConfig, parse, verify

from maspo.rewards.extract import boxed_text
from maspo.rewards.verdict import Job, Outcome, Verdict

_UNTIMED: dict[str, Any] = {"parsing_timeout": None, "raise_on_error": True}
_BOX_ONLY = (LatexExtractionConfig(try_extract_without_anchor=False),)


def prepare(memory_limit_mb: int | None) -> None:
    """Bound the worker's address space (Linux only) and compile math-verify's patterns once."""
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it warns that timeouts are off
    warnings.simplefilter("ignore")  # sympy deprecations inside math-verify
    if memory_limit_mb is not None and sys.platform == "linux":
        limit = memory_limit_mb * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    check(Job(r"$\frac{1}{2}$ and 0.25", "0.5", False))


def check(job: Job) -> Verdict:
    """Judge one job as `verify(parse(gold), parse(text))` does, but name errors it hides."""
    try:
        gold = _parse_gold(job.gold)
    except Exception as error:
        return _error(f"reference answer {job.gold!r}: {error!r}")
    if not gold:
        return _error(f"reference answer {job.gold!r}: nothing to compare with")
    try:
        parsed = parse_isolated(job.text) if job.isolated else _parse(job.text)
    except Exception as error:
        return _error(repr(error))
    if not parsed:
        return Verdict(outcome=Outcome.UNPARSABLE, answer=None)
    answer = boxed_text(job.text) if job.isolated else _text_of(parsed)
    try:
        correct = verify(gold, parsed, timeout_seconds=None, raise_on_error=True)
    except Exception as error:
        # A later pair may still be equal, which is what math-verify answers by default.
        correct = verify(gold, parsed, timeout_seconds=None)
        if not correct:
            return _error(repr(error), answer)
    return Verdict(outcome=Outcome.CORRECT if correct else Outcome.WRONG, answer=answer)


def _error(detail: str, answer: str | None = None) -> Verdict:
    return Verdict(outcome=Outcome.ERROR, answer=answer, detail=detail)


def _parse(text: str, **options: Any) -> list[Any]:
    return parse(text, **_UNTIMED, **options)


@lru_cache(maxsize=256)
def _parse_gold(gold: str) -> list[Any]:
    return _parse(gold if r"\boxed" in gold else rf"\boxed{{{gold}}}")


def parse_isolated(text: str) -> list[Any]:
    """Parse what `isolate_answer` found; empty where math-verify would look further in the text."""
    if text.startswith("####"):
        return _parse(text)
    parsed = _parse(text, extraction_config=_BOX_ONLY)
    # A lone string means that the box did not parse.
    return parsed if len(parsed) == 2 else []


def _text_of(parsed: list[Any]) -> str:
    return next((item for item in parsed if isinstance(item, str)), str(parsed[0]))
