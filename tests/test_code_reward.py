"""Programs in completions: what they earn, what they may not do, and that no trick earns anything.

Two ways in: tests that call the program, and inputs with outputs.
"""

import os
import time
from pathlib import Path

import pytest

from maspo.data import Problem, load_problems
from maspo.errors import InputError
from maspo.rewards import Limits, Outcome
from maspo.rewards.code_reward import CodeReward, CodeSpec, last_program
from maspo.rewards.sandbox.run import Bounds, failure, run_on_input

TESTS = {"tests": "assert double(2) == 4\nassert double('ab') == 'abab'\nassert double(-1) == -2"}
PAIRS = {"inputs": ["2\n", "21\n"], "outputs": ["4", "42\n"]}
RIGHT = "def double(x):\n    return x * 2\n"
RIGHT_PAIRS = "print(2 * int(input()))"
isolated = pytest.mark.skipif(bool(failure()), reason=f"here: {failure()}")


def problem(gold):
    return Problem(id="p", prompt=({"role": "user", "content": "?"},), answer=gold)


@pytest.fixture(scope="module")
def reward():
    one = CodeReward(Bounds(seconds=20.0, isolate=not failure()))
    yield one
    one.close()


@pytest.fixture(scope="module")
def hasty():
    one = CodeReward(Bounds(seconds=1.0, memory_mb=128, files_mb=1, isolate=not failure()))
    yield one
    one.close()


def judge(reward, programs, gold):
    texts = [f"I think so:\n```python\n{program}\n```\nDone." for program in programs]
    return reward.judge(texts, [problem(gold)] * len(texts))


# What is right and what is wrong

UNDER_TESTS = {
    "right": (RIGHT, "correct"),
    "right, with prints": (RIGHT + "print('passed')", "correct"),
    "wrong": ("def double(x):\n    return x + 2", "wrong"),
    "another name": ("def twice(x):\n    return x * 2", "wrong"),
    "raises": ("def double(x):\n    raise ValueError(x)", "wrong"),
    "raises at once": (RIGHT + "1 / 0", "wrong"),
    "no Python": ("def double(x) return x * 2", "unparsable"),
    "nothing": ("", "unparsable"),
    "never ends": ("while True: pass", "timeout"),
    "never ends when called": ("def double(x):\n    while True: pass", "timeout"),
}
ON_INPUTS = {
    "right": (RIGHT_PAIRS, "correct"),
    "right, blanks behind": ("print(2 * int(input()), ' \\n\\n')", "correct"),
    "right for one": ("print(4)", "wrong"),
    "right, then an error": (RIGHT_PAIRS + "\n1 / 0", "wrong"),
    "no Python": ("print 4", "unparsable"),
    "never ends": (RIGHT_PAIRS + "\nwhile True: pass", "timeout"),
    "sleeps": (RIGHT_PAIRS + "\nimport time; time.sleep(99)", "timeout"),
}


@pytest.mark.parametrize(
    ("gold", "cases"), [(TESTS, UNDER_TESTS), (PAIRS, ON_INPUTS)], ids=["tests", "pairs"]
)
def test_outcomes(reward, hasty, gold, cases):
    for ends, judged_by in ((True, reward), (False, hasty)):
        part = {n: case for n, case in cases.items() if (case[1] != "timeout") is ends}
        verdicts = judge(judged_by, [program for program, _ in part.values()], gold)
        found = {name: str(v.outcome) for name, v in zip(part, verdicts, strict=True)}
        assert found == {name: outcome for name, (_, outcome) in part.items()}
    assert judge(reward, [RIGHT], TESTS)[0].answer.strip() == RIGHT.strip()


def test_tests_reach_methods_iterators_exceptions_and_what_is_changed_in_place(reward):
    program = """
import math
from collections import Counter

class Stack:
    def __init__(self, *items):
        self.items = list(items)
        self.size = len(items)
    def push(self, item):
        self.items.append(item)
        return self
    def pop(self):
        if not self.items:
            raise IndexError("empty")
        return self.items.pop()
    def __getitem__(self, place):
        return self.items[place]
    def __len__(self):
        return len(self.items)

def squares(n):
    for i in range(n):
        yield i * i

def order(items, key=None):
    items.sort()

def counts(text):
    return Counter(text)

def big(n):
    return math.factorial(n)

def same(value):
    return value

LIMIT = 7
"""
    values = "[None, True, 1.5, 2 + 1j, b'x', bytearray(b'y'), (1, [2]), {3}, frozenset({4}), 'é\\ud800']"
    tests = f"""
s = Stack(1, 2)
assert s.size == 2 and s.push(3).pop() == 3 and s[0] == 1 and len(s) == 2
assert list(squares(4)) == [0, 1, 4, 9]
items = [3, 1, 2]
order(items)
assert items == [1, 2, 3]
assert counts("aab") == {{"a": 2, "b": 1}}
assert big(2000) == math.factorial(2000) and math.isnan(same(float("nan")))
for value in {values}:
    assert same(value) == value and type(same(value)) is type(value), value
assert same(s) is not None and same(s)[1] == 2
try:
    Stack().pop()
except IndexError as error:
    assert str(error) == "empty"
else:
    raise AssertionError("no error")
assert LIMIT == 7

def test_as_pytest_has_it():
    assert LIMIT == 7
"""
    assert judge(reward, [program], {"tests": tests})[0].detail == ""
    late = tests.replace("():\n    assert LIMIT == 7", "():\n    assert LIMIT == 8")
    assert judge(reward, [program], {"tests": late})[0].outcome is Outcome.WRONG


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ("assert double(2) == ", "SyntaxError"),
        ("def check(f):\n    assert f(2) == 4", "the tests never use the program"),
        ("assert double(lambda: 1)", "a function cannot be handed to the program"),
    ],
)
def test_tests_that_cannot_be_run_are_errors_and_not_the_models_fault(reward, tests, said):
    (verdict,) = judge(reward, [RIGHT], {"tests": tests})
    assert verdict.outcome is Outcome.ERROR and said in verdict.detail


def test_equal_programs_run_once(reward, monkeypatch):
    import maspo.rewards.code_reward as module

    calls = []
    real = module.run_on_input
    monkeypatch.setattr(module, "run_on_input", lambda *a: calls.append(a) or real(*a))
    verdicts = judge(reward, ["print(4)"] * 5, {"inputs": [""], "outputs": ["4"]})
    assert [v.outcome for v in verdicts] == [Outcome.CORRECT] * 5 and len(calls) == 1


# Tricks: each would earn something if the program could reach its judge

EQUAL = "class Yes:\n    def __eq__(self, other): return True\n    __ne__ = lambda *_: False\n"
EQUAL += "    __bool__ = __lt__ = __contains__ = __eq__\n    __len__ = lambda _: 4\n"
EQUAL += "    __hash__ = lambda _: hash(4)\n"
TRICKS = {
    "equal to everything": EQUAL + "def double(x): return Yes()",
    "a subclass of int that is equal": "class I(int):\n    __eq__ = lambda *_: True\n"
    "def double(x): return I(5)",
    "leave before the tests": "import sys; sys.exit(0)",
    "leave hard": "import os; os._exit(0)",
    "leave when called": "def double(x):\n    raise SystemExit(0)",
    "leave hard when called": "import os\ndef double(x): os._exit(0)",
    "no assertions": "import builtins\nbuiltins.AssertionError = type('A', (BaseException,), {})\n"
    "def double(x): return 5",
    "other builtins": "import builtins\nbuiltins.all = builtins.any = lambda *_: True\n"
    "builtins.exec = builtins.compile = lambda *_: None\ndef double(x): return 5",
    "the marker, printed": "print('passed')\nimport sys; print('passed', file=sys.stderr)\n"
    "def double(x): return 5",
    "the marker, in every descriptor": "import os\nfor fd in range(3, 256):\n"
    "    try: os.write(fd, b'passed')\n    except OSError: pass\ndef double(x): return 5",
    "the answers, from the tests' source": "import gc, os, sys\n"
    "def here(text): return ''.join(['dou', 'ble(2) ==']) in str(text)\n"  # never whole in this program
    "found = [o for o in gc.get_objects() if here(repr(o))]\n"
    "frame = sys._getframe()\nwhile frame:\n    found += [frame] if here(frame.f_locals) "
    "or here(frame.f_globals) else []\n    frame = frame.f_back\n"
    "for fd in range(3, 256):\n    try: found += [fd] if here(os.pread(fd, 9999, 0)) else []\n"
    "    except OSError: pass\n"
    "def double(x):\n    return {2: 4, 'ab': 'abab', -1: -2}[x] if found else 5",
    "the caller's frame": "import sys\ndef double(x):\n    frame = sys._getframe()\n"
    "    while frame:\n        frame.f_globals['run_tests'] = lambda *_: 'passed'\n"
    "        frame = frame.f_back\n    return 5",
    "a name of the tests": "def run_tests(job): return 'passed'\nAssertionError = None\n"
    "def double(x): return 5\nnames = job = program = None",
    "another channel": "import os\ndef double(x):\n    for fd in range(3, 256):\n"
    "        try: os.write(fd, b'[\"value\", 4, []]\\n')\n        except OSError: pass\n    return 5",
    "nothing but noise": "import os\nfor fd in range(3, 256):\n"
    "    try: os.write(fd, b'[' * 100000 + b'\\n')\n    except OSError: pass\n",
}
PAIR_TRICKS = {
    "leave at once": "import sys; sys.exit(0)",
    "print the marker": "print('passed')\nprint('correct')",
    "answers from the parent": "import os\nfor root, _, names in os.walk('/'):\n    for n in names:\n"
    "        if n.endswith('.jsonl'): print(open(os.path.join(root, n)).read())",
    "other print": "import builtins\nbuiltins.print = lambda *_: None",
    "right, and more": RIGHT_PAIRS + "\nprint(2 * 21)\nprint(4)",
}


@pytest.mark.parametrize(
    ("gold", "tricks"), [(TESTS, TRICKS), (PAIRS, PAIR_TRICKS)], ids=["tests", "pairs"]
)
def test_no_trick_is_correct(reward, gold, tricks):
    verdicts = judge(reward, list(tricks.values()), gold)
    found = {name: verdict.outcome for name, verdict in zip(tricks, verdicts, strict=True)}
    assert set(found.values()) == {Outcome.WRONG}, found


def test_tests_use_their_own_builtins_and_modules(reward):
    gold = {
        "tests": "assert all(double(n) == 2 * n for n in (1, 2))\nassert math.isclose(double(1), 2)"
    }
    program = "class math:\n    isclose = staticmethod(lambda *_: True)\n"
    program += "def all(_): return True\ndef double(x): return 5"
    assert judge(reward, [program], gold)[0].outcome is Outcome.WRONG
    assert judge(reward, ["import math\n" + RIGHT], gold)[0].outcome is Outcome.CORRECT


# Harm

HARM = {
    "a fork bomb": "import os\nwhile True: os.fork()",
    "a bomb of processes": "import subprocess\nsubprocess.run(['/bin/sh', '-c', ':(){ :|:& };:'])",
    "a bomb of threads": "import threading, time\n"
    "while True: threading.Thread(target=time.sleep, args=(99,)).start()",
    "a bomb of memory": "x = bytearray(10 ** 10)",
    "a slow bomb of memory": "x = []\nwhile True: x.append(bytearray(10 ** 6))",
    "much output": "while True: print('x' * 10 ** 6)",
    "a large file": "f = open('/tmp/x', 'wb')\nwhile True: f.write(b'x' * 10 ** 6)",
    "many files": "f = [open('/dev/null') for _ in range(10 ** 4)]",
    "deep recursion": "def f(): f()\nf()",
    "a crash": "import ctypes\nctypes.string_at(0)",
    "a killed parent": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n1 / 0",
}


@pytest.mark.parametrize("name", HARM)
def test_harm_stays_inside(hasty, name):
    before = time.monotonic()
    verdicts = [*judge(hasty, [HARM[name]], TESTS), *judge(hasty, [HARM[name]], PAIRS)]
    assert {v.outcome for v in verdicts} <= {Outcome.WRONG, Outcome.TIMEOUT}, verdicts
    assert time.monotonic() - before < 60  # the limit is 1 s; a hang would last for ever
    assert judge(hasty, [RIGHT], TESTS)[0].outcome is Outcome.CORRECT


@isolated
def test_a_program_sees_no_files_no_processes_and_no_network(reward, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("x")
    secret.chmod(0o666)
    program = f"""
import os, socket
found = []
try:
    os.remove({str(secret)!r})
    found.append("removed")
except OSError:
    pass
for place in ({str(secret)!r}, "/etc/passwd", "/proc/1/environ"):
    found += [place] if os.path.exists(place) else []
for place in ("/", "/usr", "/dev", {os.__file__!r}):
    try:
        open(os.path.join(place, "new") if os.path.isdir(place) else place, "a")
        found.append("wrote " + place)
    except OSError:
        pass
for family, place in ((socket.AF_INET, ("127.0.0.1", 22)), (socket.AF_INET, ("1.1.1.1", 53))):
    try:
        socket.socket(family).connect(place)
        found.append("connected")
    except OSError as error:
        found += [] if error.errno == 101 else [str(error)]
open("/tmp/mine", "w").write("x")
print(found, os.getpid(), sorted(os.listdir("/tmp")), os.getuid() != 0)
"""
    gold = {"inputs": [""], "outputs": ["[] 1 ['mine'] True"]}
    (verdict,) = judge(reward, [program], gold)
    assert verdict.outcome is Outcome.CORRECT, run_on_input(program, "", Bounds(seconds=20.0))
    assert secret.read_text() == "x"


@isolated
def test_nothing_is_left_behind(reward, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    judge(reward, ["open('/tmp/x', 'w').write('y')\n" + RIGHT], TESTS)
    assert list(tmp_path.iterdir()) == []
    mine = Path("/proc/self/task").iterdir()
    children = [Path(f"{task}/children").read_text().split() for task in mine]
    assert not any(
        Path(f"/proc/{pid}/cmdline").read_bytes().count(b"confine") for c in children for pid in c
    )


# Where programs and golds come from


@pytest.mark.parametrize(
    ("completion", "program"),
    [
        ("```python\na\n```", "a"),
        ("```\na\n```\ntext\n~~~py\nb\nc\n~~~\n", "b\nc"),
        ("````\n```\na\n```\n````", "```\na\n```"),
        ("  ```\n  a\n  ```", "  a"),
        ("```\na\n```\n```\nnever closed", "a"),
        ("```\nnever closed", None),
        ("print(1)", None),
        ("text ```a``` text", None),
    ],
)
def test_the_last_fenced_block_is_the_program(completion, program):
    assert last_program(completion) == program


@pytest.mark.parametrize("piece", ["```python\n", "```\n", "`", "~~~\n", "````a\n", " \n"])
def test_finding_the_program_takes_linear_time(piece):
    start = time.process_time()
    last_program(piece * (400_000 // len(piece)))
    assert time.process_time() - start < 2


def test_golds_for_code_are_columns_or_objects(tmp_path):
    path = tmp_path / "code.jsonl"
    path.write_text(
        '{"problem": "a", "tests": "assert f(1)", "solution": "def f(x): ..."}\n'
        '{"problem": "b", "test_list": ["assert f(1)", "assert f(2)"]}\n'
        '{"problem": "c", "inputs": ["1", "2"], "outputs": ["3", "4"]}\n'
        '{"problem": "d", "inputs": "", "outputs": "3"}\n'
        '{"problem": "e", "answer": {"tests": "assert f(1)"}}\n'
        '{"problem": "f", "answer": "42"}\n'
    )
    assert [one.answer for one in load_problems(str(path))] == [
        {"tests": "assert f(1)"},
        {"tests": "assert f(1)\nassert f(2)"},
        {"inputs": ["1", "2"], "outputs": ["3", "4"]},
        {"inputs": [""], "outputs": ["3"]},
        {"tests": "assert f(1)"},
        "42",
    ]


@pytest.mark.parametrize(
    "answer",
    [
        None, "42", {}, {"tests": " "}, {"tests": 3}, {"tests": "a", "more": 1}, {"inputs": ["a"]},
        {"inputs": [], "outputs": []}, {"inputs": ["a"], "outputs": ["b", "c"]},
        {"inputs": ["a"], "outputs": [3]}, {"inputs": "a", "outputs": "b"},
    ],
)  # fmt: skip
def test_other_golds_are_none_for_code(answer):
    assert "an answer for code is" in CodeSpec.objection(answer)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"time_limit": 0}, "time_limit of the reward code must be positive, not 0"),
        (
            {"memory_limit_mb": None},
            "memory_limit_mb of the reward code must be positive, not None",
        ),
        ({"file_limit_mb": True}, "file_limit_mb of the reward code must be positive, not True"),
        ({"isolation": "maybe"}, "isolation of the reward code must be one of auto, required, off"),
    ],
)
def test_limits_that_leave_nothing_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        CodeSpec(**settings)


def test_without_isolation_it_is_said_or_refused(monkeypatch):
    failures = {True: "no namespaces", False: ""}
    monkeypatch.setattr("maspo.rewards.code_reward.failure", lambda isolate: failures[isolate])
    with pytest.warns(UserWarning, match="not isolated from network and files: no namespaces"):
        CodeSpec().start(Limits()).close()
    with pytest.raises(InputError, match="requires isolation: no namespaces"):
        CodeSpec(isolation="required").start(Limits())
    failures[False] = "no Python"
    for isolation in ("auto", "off"):
        with pytest.raises(InputError, match="the reward code can run no programs here: no Python"):
            CodeSpec(isolation=isolation).start(Limits())


def test_without_isolation_programs_are_judged_all_the_same():
    if failure(isolate=False):  # root gives up its rights, and this Python may be root's alone
        pytest.skip(failure(isolate=False))
    one = CodeReward(Bounds(seconds=20.0, isolate=False))
    found = [v.outcome for v in judge(one, [RIGHT, "def double(x): return 5"], TESTS)]
    found += [v.outcome for v in judge(one, [RIGHT_PAIRS, "print(4)"], PAIRS)]
    one.close()
    assert found == [Outcome.CORRECT, Outcome.WRONG] * 2
