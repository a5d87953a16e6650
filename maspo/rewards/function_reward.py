"""The kind `function`: a user's Python function, called as TRL calls reward functions."""

from __future__ import annotations

import ast
import asyncio
import importlib
import importlib.util
import inspect
import math
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from maspo.errors import InputError
from maspo.rewards.reward import AskedProblem
from maspo.rewards.spec import Limits, RewardSpec

ALWAYS = {"prompts", "completions", "answer", "trainer_state", "log_metric", "log_extra"}
"""Keywords that every call has, in training and in evaluations, in either engine."""


@dataclass(frozen=True, kw_only=True)
class FunctionSpec(RewardSpec):
    """A Python function; it runs in the training process, with all that the process may do."""

    source: str
    """`file.py:name`, or `package.module:name`."""

    kind: ClassVar[str] = "function"
    default_name: ClassVar[str] = ""
    verdicts: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Take the function's name for the reward's; InputError where the source names no function."""
        place, _, function = (
            self.source.rpartition(":") if isinstance(self.source, str) else ("", "", "")
        )
        if not place or not function.isidentifier():
            raise InputError(
                "the source of a reward is file.py:name or package.module:name, "
                f"not {self.source!r}"
            )
        if not self.name:
            object.__setattr__(self, "name", function)
        super().__post_init__()

    @property
    def imports(self) -> str:
        """The source."""
        return self.source

    def code(self) -> str:
        """Read what will be imported; "" where the source is no file, or the file is not there."""
        file = file_of(self.source)
        return file.read_text("utf-8", "replace") if file and file.is_file() else ""

    def check(self) -> None:
        """Read the file, if the source is one, and look whether it defines the function."""
        file, name = file_of(self.source), self.source.rpartition(":")[2]
        if file is None:
            return
        if not file.is_file():
            raise InputError(_no_file(self.source, file))
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError) as error:
            raise InputError(
                f"the reward {self.source} cannot be imported: {file} is not Python: {error}"
            ) from None
        if not _may_define(tree, name):
            raise InputError(
                f"the reward {self.source} cannot be used: {name} is not there in {file}"
            )

    def start(self, limits: Limits) -> FunctionReward:
        """Import the function; InputError where that fails."""
        return FunctionReward(import_function(self.source), self.name)


class FunctionReward:
    """Calls a function with the keywords of TRL's reward functions, and returns its scores.

    The keywords are `prompts` and `completions` (lists of chat messages), `answer`, every further
    column of the data set, `trainer_state`, `log_metric` and `log_extra` (in training; elsewhere
    None), and where they are known `completion_ids`. A function without `**kwargs` gets those that it
    names. It returns a float for each completion, or None where it has nothing to say; it may be async.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        """Take a function; InputError where it asks for keywords that not every call has."""
        self.function, self.name = function, name
        self._parameters = inspect.signature(function).parameters.values()
        self._takes_all = any(one.kind is one.VAR_KEYWORD for one in self._parameters)
        if self._needs("completion_ids"):
            raise InputError(
                f"the reward {name} needs completion_ids, which only training with TRL has: "
                "give the parameter a default"
            )

    def judge(
        self, completions: Sequence[str], problems: Sequence[AskedProblem], **given: Any
    ) -> list[float | None]:
        """Call the function once; InputError where what it returns is no score for each completion.

        An error that the function raises keeps its type, and gets a note that names the reward.
        """
        keywords = self._keywords(completions, problems, given)
        try:
            returned = self.function(**keywords)
            if inspect.isawaitable(returned):
                returned = asyncio.run_coroutine_threadsafe(_finish(returned), _loop()).result()
        except Exception as error:
            error.add_note(f"raised by the reward function {self.name}")
            raise
        return self._scores(returned, len(completions))

    def close(self) -> None:
        """Do nothing: it starts no processes."""

    def _keywords(
        self, completions: Sequence[str], problems: Sequence[AskedProblem], given: Mapping[str, Any]
    ) -> dict[str, Any]:
        columns = dict.fromkeys(name for problem in problems for name in problem.columns)
        keywords = {name: [p.columns.get(name) for p in problems] for name in columns}
        keywords |= dict.fromkeys(("trainer_state", "log_metric", "log_extra"))
        keywords |= given
        keywords["answer"] = [problem.answer for problem in problems]
        keywords["prompts"] = [list(problem.prompt) for problem in problems]
        keywords["completions"] = [[{"role": "assistant", "content": one}] for one in completions]
        missing = [name for name in map(_name, self._parameters) if self._needs(name)]
        absent = next((name for name in missing if name not in keywords), None)
        if absent is not None:
            raise InputError(
                f"the reward {self.name} needs {absent}, and the data set has no such column; it has "
                f"{', '.join(columns) or 'no further ones'}"
            )
        if self._takes_all:
            return keywords
        names = set(map(_name, self._parameters))
        return {name: value for name, value in keywords.items() if name in names}

    def _needs(self, name: str) -> bool:
        return any(
            one.name == name
            and one.default is one.empty
            and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
            for one in self._parameters
        )

    def _scores(self, returned: Any, count: int) -> list[float | None]:
        if hasattr(returned, "tolist"):  # an array or a tensor
            returned = returned.tolist()
        if not isinstance(returned, Sequence) or isinstance(returned, str | bytes):
            raise InputError(
                f"the reward {self.name} must return a list of numbers, not a {_kind(returned)}"
            )
        if len(returned) != count:
            raise InputError(
                f"the reward {self.name} returned {len(returned)} scores for {count} completions"
            )
        return [self._score(one, row) for row, one in enumerate(returned)]

    def _score(self, value: Any, row: int) -> float | None:
        if value is None:
            return None
        try:
            score = math.nan if isinstance(value, str | bytes) else float(value)
        except (TypeError, ValueError):
            score = math.nan
        if not math.isfinite(score):
            raise InputError(
                f"the reward {self.name} returned {value!r} for completion {row}: "
                "a score is a finite number, or None"
            )
        return score


def file_of(source: str) -> Path | None:
    """Return the file of a source; None where it is a module."""
    place = source.rpartition(":")[0]
    return Path(place).expanduser() if place.endswith(".py") or "/" in place else None


def resolve_source(source: str, folder: Path) -> str:
    """Write the file of a source, which may be relative to `folder`, as an absolute path."""
    file = file_of(source)
    if file is None:
        return source
    return f"{os.path.abspath(folder / file)}:{source.rpartition(':')[2]}"


def import_function(source: str) -> Callable[..., Any]:
    """Import a function by `file.py:name` or `package.module:name`; InputError where there is none."""
    place, _, name = source.rpartition(":")
    file = file_of(source)
    if file is not None:
        if not file.is_file():
            raise InputError(_no_file(source, file))
        module = _module_of(file.resolve())
    else:
        try:
            module = importlib.import_module(place)
        except ModuleNotFoundError as error:
            if not f"{place}.".startswith(f"{error.name}."):
                raise  # a module that the user's own code imports
            raise InputError(
                f"the reward {source} cannot be imported: there is no module {error.name}"
            ) from None
    found = getattr(module, name, None)
    if not callable(found):
        what = "is no function" if hasattr(module, name) else "is not there"
        raise InputError(f"the reward {source} cannot be used: {name} {what} in {place}")
    return found


def _no_file(source: str, file: Path) -> str:
    return f"the reward {source} cannot be imported: there is no file {file}"


def _may_define(tree: ast.Module, name: str) -> bool:
    """Look whether a module has a place that may bind `name`, at any depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound = {node.name}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound = {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound = {node.id}
        else:
            continue
        if bound & {name, "*"}:
            return True
    return False


@lru_cache
def _module_of(path: Path) -> Any:
    """Import a file once; its own folder comes first among those that it imports from."""
    name = f"maspo_reward_{path.stem}_{abs(hash(path)):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, path  # it ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        error.add_note(f"raised while importing the reward function in {path}")
        raise
    finally:
        sys.path.remove(str(path.parent))
    return module


@lru_cache(maxsize=1)
def _loop() -> asyncio.AbstractEventLoop:
    """Start the one event loop of all async rewards, so that their sessions outlive a call."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="async rewards", daemon=True).start()
    return loop


def _finish(awaitable: Any) -> Coroutine[Any, Any, Any]:
    async def finish() -> Any:
        return await awaitable

    return finish()


def _name(parameter: inspect.Parameter) -> str:
    return parameter.name


def _kind(value: Any) -> str:
    return type(value).__name__
