"""What runs on a model's text outside a worker takes time in proportion to its length."""

import re
import time
from re import _parser

import pytest

from maspo.rewards import extract
from maspo.rewards.layer import locate
from maspo.rewards.layer.rules import RULES

MODULES = [extract, locate]
CUTS = [extract.isolate_answer, lambda text: locate.find_answer(text, RULES)]
LENGTH = 200_000
RUNS = [" ", "\t", "\n", "\u00a0", "#", "$", "7"]


def literals(pattern: re.Pattern[str]) -> set[str]:
    """Every run of literal characters in a pattern, and every class's first literal."""
    found = set()

    def walk(nodes) -> None:
        run = ""
        for name, value in nodes:
            if name is _parser.LITERAL:
                run += chr(value)
                continue
            found.add(run)
            run = ""
            if name is _parser.IN:
                walk(value)
            for part in value if isinstance(value, (list, tuple)) else ():
                if isinstance(part, _parser.SubPattern):
                    walk(part)
                elif isinstance(part, list):
                    for branch in part:
                        if isinstance(branch, _parser.SubPattern):
                            walk(branch)
        found.add(run)

    walk(_parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE))
    return found


PATTERNS = [
    (f"{module.__name__.rpartition('.')[2]}.{name}", value)
    for module in MODULES
    for name, value in vars(module).items()
    if isinstance(value, re.Pattern)
]


def seconds(call, text: str) -> float:
    start = time.process_time()
    call(text)
    return time.process_time() - start


def test_the_literals_of_a_pattern_are_found():
    assert literals(re.compile(r"final answer.{0,9}?\s+is(?:\$\$?|ab)*")) >= {
        "final answer",
        "is",
        "$",
        "ab",
    }


def is_slow(call, make) -> bool:
    """Whether a text of a length takes above 0.2 s, twice; a tenth of it shows a square sooner."""
    texts = (make(LENGTH // 10), make(LENGTH))
    return any(seconds(call, text) > 0.2 and seconds(call, text) > 0.2 for text in texts)


@pytest.mark.parametrize(("name", "pattern"), PATTERNS, ids=[name for name, _ in PATTERNS])
def test_every_pattern_is_linear_in_runs_around_its_literals(name, pattern):
    texts = [
        lambda n, text=text, word=word, run=run: text.format(word=word, runs=run * n)
        for run in RUNS
        for word in literals(pattern)
        for text in ("{word}{runs}", "{runs}{word}", "{word}{runs}{word}x")
    ]
    slow = [
        make(20)
        for make in texts
        for call in (pattern.search, pattern.fullmatch)
        if is_slow(call, make)
    ]
    assert not slow


TEXTS = {
    "box behind": "Caf\u00e9: \\boxed{5}@",
    "anchor": "The final answer is $\\boxed{5}$.@",
    "is": "Caf\u00e9 x is@y, so \\boxed{5}",
    "anchor before": "The final answer@is \\boxed{5}",
    "between": "The final answer is@\\boxed{5}",
    "math behind": "The final answer is \\boxed{5}@$x$",
    "hashes": "#### 5@x",
    "many boxes": "\\boxed{3}@\\boxed{4}",
    "no box": "the answer is 5@",
    "open box": "\\boxed{5@",
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("run", RUNS, ids=[f"{ord(run):x}" for run in RUNS])
def test_an_answer_is_cut_out_in_linear_time(name, run):
    for cut in CUTS:
        assert not is_slow(cut, lambda n: TEXTS[name].replace("@", run * n))
