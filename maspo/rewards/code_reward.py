"""The kind `code`: completions hold programs, which are run against tests or inputs and outputs."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from maspo.errors import InputError, RunError
from maspo.rewards.reward import AskedProblem
from maspo.rewards.sandbox.program import UNREADABLE
from maspo.rewards.sandbox.run import Bounds, Ended, failure, run_on_input, run_under_tests
from maspo.rewards.spec import Limits, RewardSpec
from maspo.rewards.verdict import Outcome, Verdict

ISOLATION = ("auto", "required", "off")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")


@dataclass(frozen=True, kw_only=True)
class CodeSpec(RewardSpec):
    """Python programs, run on tests: 1.0 where all of them pass, else 0.0."""

    time_limit: float | None = None
    """Seconds for all tests of one completion; without it `reward.time_limit`."""
    memory_limit_mb: int = 512
    """Address space of a program."""
    file_limit_mb: int = 16
    """What a program may print, and its largest file."""
    isolation: Literal["auto", "required", "off"] = "auto"
    """Without network and away from all files: `auto`, where the system allows it, with a warning where
    it does not; `required`: refuse to run elsewhere."""

    kind: ClassVar[str] = "code"
    default_name: ClassVar[str] = "code"
    verdicts: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raise InputError for limits that leave nothing, and an unknown isolation."""
        super().__post_init__()
        for name in ("time_limit", "memory_limit_mb", "file_limit_mb"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and value > 0) and not (value is None and name == "time_limit"):
                raise InputError(f"{name} of the reward {self.name} must be positive, not {value}")
        if self.isolation not in ISOLATION:
            raise InputError(
                f"isolation of the reward {self.name} must be one of {', '.join(ISOLATION)}, "
                f"not {self.isolation!r}"
            )

    @classmethod
    def objection(cls, answer: Any) -> str | None:
        """Take `{"tests": text}`, or `{"inputs": texts, "outputs": texts}` of the same number."""
        match answer:
            case {"tests": str(text), **rest} if not rest and text.strip():
                return None
            case {"inputs": list(inputs), "outputs": list(outputs), **rest} if not rest:
                texts = all(isinstance(one, str) for one in (*inputs, *outputs))
                if texts and len(inputs) == len(outputs) > 0:
                    return None
        return (
            'an answer for code is {"tests": "assert ..."}, or {"inputs": [...], "outputs": [...]} '
            "with as many texts in each"
        )

    @classmethod
    def gold_of(cls, row: Mapping[str, Any]) -> Any:
        """Read the column `tests` (or `test_list`), or the columns `inputs` and `outputs`."""
        for column in ("tests", "test_list"):
            if row.get(column):
                tests = row[column]
                return {"tests": "\n".join(tests) if isinstance(tests, list) else tests}
        if row.get("inputs") is not None and row.get("outputs") is not None:
            pair = {name: row[name] for name in ("inputs", "outputs")}
            return {n: [one] if isinstance(one, str) else one for n, one in pair.items()}
        return None

    def start(self, limits: Limits) -> CodeReward:
        """Look how programs can be run here; InputError where they cannot, or not as is required."""
        exposed = "" if self.isolation == "off" else failure(isolate=True)
        isolate = self.isolation != "off" and not exposed
        if exposed and self.isolation == "required":
            raise InputError(f"the reward {self.name} requires isolation: {exposed}")
        if not isolate and (why := failure(isolate=False)):
            raise InputError(f"the reward {self.name} can run no programs here: {why}")
        if exposed:
            warnings.warn(
                f"the programs that {self.name} runs are not isolated from network and files: {exposed}",
                stacklevel=2,
            )
        bounds = Bounds(
            seconds=self.time_limit or limits.time_limit,
            memory_mb=self.memory_limit_mb,
            files_mb=self.file_limit_mb,
            isolate=isolate,
        )
        return CodeReward(bounds, workers=limits.workers)


class CodeReward:
    """Judges the program in the last fenced block of a completion, each in confined processes.

    A program is wrong that fails a test, prints something else than the output, ends with an error or
    takes more memory than it may; unparsable that is not there or no Python; a timeout where its tests
    take too long; an error where the tests cannot be run.
    """

    def __init__(self, bounds: Bounds, *, workers: int = 2) -> None:
        """Run `workers` programs at a time, each within `bounds`."""
        self.bounds = bounds
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="code")

    def judge(
        self, completions: Sequence[str], problems: Sequence[AskedProblem], **_: Any
    ) -> list[Verdict]:
        """Run each program; equal programs for the same gold are run once."""
        running = {}
        keys = []
        for completion, problem in zip(completions, problems, strict=True):
            program = last_program(completion)
            keys.append((program, repr(problem.answer)))
            if keys[-1] not in running:
                running[keys[-1]] = self._pool.submit(
                    judge_program, program, problem.answer, self.bounds
                )
        return [running[key].result() for key in keys]

    def close(self) -> None:
        """Wait for what runs, and start no more."""
        self._pool.shutdown(cancel_futures=True)


def last_program(completion: str) -> str | None:
    """Return the last closed fenced block of a completion; None where there is none."""
    fence, block, last = "", [], None
    for line in completion.split("\n"):
        opening = _FENCE.match(line)
        if not fence:
            fence, block = (opening[1], []) if opening else ("", [])
        elif opening and opening[1].startswith(fence) and line.strip() == opening[1]:
            fence, last = "", "\n".join(block)
        else:
            block.append(line)
    return last


def judge_program(program: str | None, gold: Mapping[str, Any], bounds: Bounds) -> Verdict:
    """Run one program against a gold as `CodeSpec.objection` takes it."""
    if program is None or not program.strip():
        return Verdict(outcome=Outcome.UNPARSABLE, answer=None)
    try:
        if "tests" in gold:
            outcome, detail = _under_tests(program, gold["tests"], bounds)
        else:
            outcome, detail = _on_inputs(program, gold["inputs"], gold["outputs"], bounds)
    except RunError as error:
        outcome, detail = Outcome.ERROR, str(error)
    return Verdict(outcome=outcome, answer=program, detail=detail)


def _under_tests(program: str, tests: str, bounds: Bounds) -> tuple[Outcome, str]:
    found, ended = run_under_tests(program, tests, bounds)
    if ended.status == UNREADABLE:
        return Outcome.UNPARSABLE, "the program is no Python"
    if found == "passed":
        return Outcome.CORRECT, ""
    if found.startswith("broken: "):
        return Outcome.ERROR, found.removeprefix("broken: ")
    if not found or ended.status == "timeout":
        return Outcome.TIMEOUT, f"no verdict within {bounds.seconds:g} s, killed"
    return Outcome.WRONG, found.removeprefix("failed: ")


def _on_inputs(
    program: str, inputs: Sequence[str], outputs: Sequence[str], bounds: Bounds
) -> tuple[Outcome, str]:
    deadline = time.monotonic() + bounds.seconds
    for number, (text, wanted) in enumerate(zip(inputs, outputs, strict=True)):
        left = deadline - time.monotonic()
        ended = run_on_input(program, text, bounds.within(max(left, 0.01)))
        if ended.status == "timeout":
            return Outcome.TIMEOUT, f"no end within {bounds.seconds:g} s, at input {number}, killed"
        if ended.status == UNREADABLE:
            return Outcome.UNPARSABLE, "the program is no Python"
        if ended.status != 0:
            return Outcome.WRONG, f"input {number}: {_how(ended)}"
        if _lines(ended.output) != _lines(wanted):
            return Outcome.WRONG, f"input {number}: other output"
    return Outcome.CORRECT, ""


def _lines(text: str) -> list[str]:
    """Take what counts of an output: its lines, without blanks at their ends and empty ones below."""
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _how(ended: Ended) -> str:
    killed = isinstance(ended.status, int) and ended.status < 0
    how = f"killed by signal {-int(ended.status)}" if killed else f"exit code {ended.status}"
    return f"{how}, {ended.error}" if ended.error else how
