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

from math_verify import verify
from sympy import UnevaluatedExpr

from maspo.rewards.extract import boxed_text
from maspo.rewards.layer.equality import judge
from maspo.rewards.layer.reading import Reading, read_answer
from maspo.rewards.layer.rules import VERIFIERS
from maspo.rewards.reading import parse_isolated, patch_math_verify, read
from maspo.rewards.rules import bare_number, compare_with_tolerance, has_rules, spell_out
from maspo.rewards.verdict import Gold, Job, Outcome, Verdict


def prepare_worker(memory_limit_mb: int | None) -> None:
    """Bound the worker's address space (Linux only), and make math-verify quiet and fast in it."""
    be_quiet()
    patch_math_verify()
    if memory_limit_mb is not None and sys.platform == "linux":
        limit = memory_limit_mb * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def be_quiet() -> None:
    """Silence math-verify's warning that its timeouts are off, and sympy's deprecations in it."""
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")


def check_answer(job: Job, rules: frozenset[str]) -> Verdict:
    """Judge one job by the rules of the layer, or as math-verify alone where there are none."""
    if job.only_gold:
        return check_gold(job.gold, rules or VERIFIERS["extended"])
    return check_by_rules(job, rules) if rules else check_plainly(job)


def check_gold(gold: Gold, rules: frozenset[str]) -> Verdict:
    """Return CORRECT where a reference answer is read whole, else ERROR with what is wrong with it."""
    try:
        found = _read_gold(gold.answer, rules)
        if not found.letters:
            return _error("nothing to compare with")
        if found.unreadable:
            return _error(
                "does not parse: only an answer written with the same letters is accepted"
            )
        if found.lost:
            return _error(f"read without {', '.join(sorted(found.lost))}")
    except Exception as error:
        return _error(repr(error))
    return Verdict(outcome=Outcome.CORRECT, answer=found.text)


def check_by_rules(job: Job, rules: frozenset[str]) -> Verdict:
    """Judge one job by the rules of the layer, and where they are silent by math-verify."""
    shown = f"reference answer {job.gold.answer!r}"
    try:
        gold = _read_gold(job.gold.answer, rules)
    except Exception as error:
        return _error(f"{shown}: {error!r}")
    if not gold.letters:
        return _error(f"{shown}: nothing to compare with")
    if job.text.strip() == job.gold.answer.strip():
        return Verdict(outcome=Outcome.CORRECT, answer=job.gold.answer)
    text = job.text if job.isolated else _found(job)
    if text and "%" in (job.gold.unit or ""):
        text = spell_out(text, Gold("", unit="%"))
    if not text:
        return Verdict(outcome=Outcome.UNPARSABLE, answer=None)
    try:
        correct = judge(text, gold, job.gold)
    except Exception as error:
        return _error(repr(error), text)
    if not correct and gold.unreadable:
        return _error(f"{shown} cannot be read", text)
    return Verdict(outcome=Outcome.CORRECT if correct else Outcome.WRONG, answer=text)


def _found(job: Job) -> str | None:
    """Return what math-verify takes for the answer in a whole text, as text."""
    parsed = read(spell_out(job.text, job.gold))
    text = next((item for item in parsed if isinstance(item, str)), None)
    if text and len(parsed) > 1 and parsed[0].has(UnevaluatedExpr) and "%" not in text:
        text += r"\%"
    return text


@lru_cache(maxsize=1024)
def _read_gold(answer: str, rules: frozenset[str]) -> Reading:
    return read_answer(answer, rules)


def check_plainly(job: Job) -> Verdict:
    """Judge one job as `verify(parse(gold), parse(text))` does, but name errors it hides.

    Where the gold has rules, both texts are spelt out first and tolerances come before verify.
    """
    shown = f"reference answer {job.gold.answer!r}"
    try:
        gold = _parse_gold(job.gold)
    except Exception as error:
        return _error(f"{shown}: {error!r}")
    if not gold:
        return _error(f"{shown}: nothing to compare with")
    if has_rules(job.gold) and job.text.strip() == job.gold.answer.strip():
        return Verdict(outcome=Outcome.CORRECT, answer=job.gold.answer)
    try:
        parsed = _parse_job(job)
    except Exception as error:
        return _error(repr(error))
    if not parsed:
        return _verdict_on_text(job)
    answer = boxed_text(job.text) if job.isolated else _text_of(parsed)
    try:
        correct = compare_with_tolerance(parsed[0], gold[0], job.gold)
        if correct is None:
            correct = verify(gold, parsed, timeout_seconds=None, raise_on_error=True)
    except Exception as error:
        # A later pair may still be equal, which is what math-verify answers by default.
        correct = verify(gold, parsed, timeout_seconds=None)
        if not correct:
            return _error(repr(error), answer)
    return Verdict(outcome=Outcome.CORRECT if correct else Outcome.WRONG, answer=answer)


def _verdict_on_text(job: Job) -> Verdict:
    """Judge what math-verify finds no answer in: correct if it is the reference, letter by letter."""
    if not job.isolated and job.text.strip() == job.gold.answer.strip():
        return Verdict(outcome=Outcome.CORRECT, answer=job.gold.answer)
    return Verdict(outcome=Outcome.UNPARSABLE, answer=None)


def _error(detail: str, answer: str | None = None) -> Verdict:
    return Verdict(outcome=Outcome.ERROR, answer=answer, detail=detail)


@lru_cache(maxsize=256)
def _parse_gold(gold: Gold) -> list[Any]:
    text = bare_number(gold.answer, gold) if has_rules(gold) else gold.answer
    return read(text if r"\boxed" in text else rf"\boxed{{{text}}}")


def _parse_job(job: Job) -> list[Any]:
    text = job.text
    if has_rules(job.gold):
        text = spell_out(text, job.gold)
        if job.isolated and not text.startswith("####"):
            text = rf"\boxed{{{bare_number(boxed_text(text), job.gold)}}}"
    return parse_isolated(text) if job.isolated else read(text)


def _text_of(parsed: list[Any]) -> str:
    return next((item for item in parsed if isinstance(item, str)), str(parsed[0]))
