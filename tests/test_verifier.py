"""The verifier against plain math-verify, against hostile answers, and as a reward."""

import itertools
import json
import logging
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from math_verify import parse, verify

from maspo.errors import InputError, RunError
from maspo.rewards import Gold, MathReward, Outcome, Verifier
from maspo.rewards.extract import compare_numbers, isolate_answer
from maspo.rewards.reading import parse_isolated, read
from maspo.rewards.server import Budget

TOWER = r"\boxed{9^{9^{9^{9}}}}"


@pytest.fixture(scope="module")
def verifier():
    """The verifier without the layer: math-verify, killable and faster."""
    with Verifier(workers=2, time_limit=20.0, rules="math-verify") as one:
        yield one


@pytest.fixture(scope="module")
def hasty():
    with Verifier(workers=1, time_limit=2.0, memory_limit_mb=1024) as one:
        one.verify([r"\boxed{x}"], ["y"])  # wait for the workers, so that times below are its own
        yield one


def plainly(completion: str, gold: str) -> bool:
    """Ask math-verify itself, on the whole completion, in this process."""
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    gold_parsed = parse(rf"\boxed{{{gold}}}", parsing_timeout=None)
    return verify(gold_parsed, parse(completion, parsing_timeout=None), timeout_seconds=None)


def accepted(verdicts) -> list[bool]:
    return [verdict.outcome is Outcome.CORRECT for verdict in verdicts]


def listed(text: str) -> list[str]:
    return text.split("|")


TABLE = [  # completion, gold, outcome by hand, extracted answer
    (r"\boxed{1,234}", "1234", "correct", "1,234"),
    (r"\boxed{1234}", "1,234", "correct", "1234"),
    (r"\boxed{0.5}", r"\frac{1}{2}", "correct", "0.5"),
    (r"\boxed{\frac{1}{2}}", "0.5", "correct", r"\frac{1}{2}"),
    (r"\boxed{\frac{2}{4}}", "1/2", "correct", r"\frac{2}{4}"),
    (r"\boxed{0.333333}", r"\frac{1}{3}", "correct", "0.333333"),
    (r"\boxed{0.3333}", r"\frac{1}{3}", "wrong", "0.3333"),
    (r"\boxed{50\%}", "50", "correct", r"50\%"),
    (r"\boxed{50\%}", "0.5", "correct", r"50\%"),
    (r"\boxed{-7}", "7", "wrong", "-7"),
    (r"so $\boxed{\sqrt{8}}$.", r"2\sqrt{2}", "correct", r"\sqrt{8}"),
    (r"first \boxed{3}, then \boxed{4}", "4", "wrong", "3,4"),
    (r"first \boxed{3}. After more thought it is \boxed{4}", "4", "correct", "4"),
    (r"\boxed{\frac{\sqrt{3}}{2}}", r"\frac{\sqrt 3}{2}", "correct", r"\frac{\sqrt{3}}{2}"),
    ("It is 12 in total, hence the answer is 42.", "42", "correct", "42"),
    ("48/2 = 24\n24 + 48 = 72\n#### 72", "72", "correct", "72"),
    (r"$\boxed{50}$\%", "0.5", "correct", "50"),
    (r"The final answer is $\boxed{5}$, which is 7.", "7", "correct", "7"),
    (r"The final answer is $\boxed{5}$, $x$", r"\{5, x\}", "correct", "5 and x"),
    (r"\(\boxed{answer: 75\(\frac{1}{2}}\)", "75", "correct", r"answer: 75\(\frac{1}{2}"),
    ("The answer: 12, see\n#### 3", "12", "correct", "12"),
    ("The final answer is $5$. I hope it is correct. \\boxed{6}", "5", "correct", "5"),
    ("", "5", "unparsable", None),
    (" \n", "5", "unparsable", None),
    ("I do not know.", "5", "unparsable", None),
]


def test_verdicts_on_a_table_made_by_hand(verifier):
    verdicts = verifier.verify([row[0] for row in TABLE], [row[1] for row in TABLE])
    assert [(str(v.outcome), v.answer) for v in verdicts] == [row[2:] for row in TABLE]
    assert accepted(verdicts) == [plainly(completion, gold) for completion, gold, *_ in TABLE]


NUMBERS = listed(
    r"5|-5|007|1,234|1234|1234.0|1,234.5|0.5|\frac{1}{2}|\dfrac{2}{4}|-\frac{1}{2}|1/2|-1/2|6/3|2|2.0"
    r"|0|-0|0.0|0.333333|\frac{1}{3}|0.33333|1,000,000|1000000.000001|1000000.0001|123456789012"
    r"|123456789013|0.000001|0.0000001|\frac{1}{1000000}|0.1|1/10|0.0000015|999999.999999|1/0|5.|1,23"
)


def test_numbers_are_compared_as_math_verify_compares_them():
    decided = 0
    for answer, gold in itertools.product(NUMBERS, NUMBERS):
        equal = compare_numbers(answer, gold)
        if equal is not None:
            decided += 1
            assert equal == plainly(rf"\boxed{{{answer}}}", gold), (answer, gold)
    assert decided > 1000  # most pairs are settled without a worker


decimals = st.decimals(-5000, 5000, allow_nan=False, allow_infinity=False, places=None).map(
    lambda d: format(round(d, 8), "f")
)
fractions = st.tuples(st.integers(-60, 60), st.integers(1, 60)).flatmap(
    lambda pair: st.sampled_from(
        [f"{pair[0]}/{pair[1]}", rf"\frac{{{abs(pair[0])}}}{{{pair[1]}}}", f"{pair[0]:,}"]
    )
)


@settings(max_examples=150, deadline=None)
@given(st.one_of(decimals, fractions), st.one_of(decimals, fractions), st.booleans())
def test_any_two_numbers_are_compared_as_math_verify_compares_them(answer, gold, same):
    gold = answer if same else gold
    equal = compare_numbers(answer, gold)
    assert equal is None or equal == plainly(rf"\boxed{{{answer}}}", gold)


HEADS = listed(
    "||We have $x=3$ and $y=7$. |It costs $5 each, so |The final answer is |The final answer is: "
    "|## Final Answer\n\n|answer: 12. |The answer is $4$. Wait, |Hence $\\frac{3}{4}$, "
    "|So \\[ x = 9 \\] and |final answer which is $2$ is |in [0, 1] |It is 50% of |$$ z = 4 $$ "
)
BOXES = listed(
    r"\boxed{@}|$\boxed{@}$|$$\boxed{@}$$|\[ x = \boxed{@} \]|\(\boxed{@}\)|**\boxed{@}**|\fbox{@}"
    r"| [\boxed{@}] |\boxed{x = @}|$\boxed{@} + 1$|#### @|@|\boxed {@}|\boxed{@"
)
TAILS = listed(
    "|.|. I hope it is correct.|%| percent| and $\\boxed{3}$|, $y=2$| which is 7.| or $x=2$"
    "| Check: $2+2=4$.| answer: 11| The final answer is 8. I hope it is correct.| so \\boxed{3}"
    "| units {a}|\n#### 6|$ 5|\\%|\n\n| The answer is $6$."
)
GOLDS = listed(
    r"5|1,234|0.5|\frac{1}{2}|50\%|x=5|(1,2)|\{1,2\}|221,8|7|2|\text{Evelyn}|[0,1)|106^\circ"
    r"|\left( 3, \frac{\pi}{2} \right)|5\text{ cm}|p - q|10\sqrt{2}|1 \pm \sqrt{19}|x^2+1"
    r"|-\frac{3}{4}"
)


FRAGMENTS = listed(
    r"$|$$|\(|\)|\[|\]| [|] |final answer| is| is:|Final Answer|answer|Answer:|: |%| percent|\%"
    r"| and| or|,|, | 3| 17.|=|= 4|x|$x=3$|\frac{1}{2}| I hope it is correct|**|{|}|\text{a}|-|+|/2"
    r"|1/2 |7 |FINAL ANSWER|finAl anſwer ıs|#|#### 9|\fbox{2}| pct|\boxed| cm|\|.|  "
)
ANSWERS = listed(
    r"\boxed{5}|\boxed{x}|\boxed{\frac{1}{2}}|\boxed{1,2}|\boxed{(1,2]}|\boxed{50\%}|\boxed{x=5}"
    r"|\boxed{\text{5 cm}}|\boxed{5, x}|\boxed{}|\boxed{5 and 6}|\boxed{[0, 1] }|\boxed{\text{ }}"
    r"|#### 5|#### 1,234|#### -3.5|#### 007"
)
pieces = st.lists(st.sampled_from([*FRAGMENTS, "\n", "\n\n"]), max_size=6).map("".join)


@settings(max_examples=2000, deadline=None)
@given(pieces, st.sampled_from(["", " final answer is "]), st.sampled_from(ANSWERS), pieces)
def test_an_isolated_answer_parses_as_the_whole_text_does(before, anchor, answer, after):
    completion = before + anchor + answer + after
    isolated = isolate_answer(completion)
    parsed = parse_isolated(isolated) if isolated else []
    plain = repr(parse(completion, parsing_timeout=None))
    assert not parsed or repr(parsed) == plain
    assert repr(read(completion)) == plain


def agree_with_math_verify(verifier, golds, count):
    draw = random.Random(0)
    cases = []
    for _ in range(count):
        gold, other = draw.choice(golds), draw.choice(golds)
        answer = draw.choice([gold, other])
        parts = draw.choice(HEADS), draw.choice(BOXES).replace("@", answer), draw.choice(TAILS)
        cases.append(("".join(parts), gold))
    isolated = sum(isolate_answer(completion) is not None for completion, _ in cases)
    assert isolated > count // 4  # the shortcut is under test, not only the way round it
    verdicts = verifier.verify([case[0] for case in cases], [case[1] for case in cases])
    expected = [plainly(*case) for case in cases]
    wrong = [
        (case, v) for case, v, e in zip(cases, accepted(verdicts), expected, strict=True) if v != e
    ]
    assert not wrong


@pytest.mark.filterwarnings("ignore")  # sympy's, inside math-verify
def test_every_way_to_write_an_answer_is_judged_as_math_verify_judges_the_whole_text(verifier):
    agree_with_math_verify(verifier, GOLDS, 400)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["math500", "olympiadbench", "minerva_math", "gsm8k_test"])
def test_golds_of_the_benchmarks_are_judged_as_math_verify_judges_them(verifier, shared, name):
    lines = (shared / "data" / f"{name}.jsonl").read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    agree_with_math_verify(verifier, [row.get("answer_mv", row["answer"]) for row in rows], 60)


def test_a_bare_reference_that_math_verify_cannot_read_is_accepted_letter_by_letter(verifier):
    bare = [r"\text{Evelyn}", r"\frac{3\sqrt{3}}{4}", "p - q"]
    assert not any(parse(text, parsing_timeout=None) for text in bare)
    assert accepted(verifier.verify([f" {text}\n" for text in bare], bare)) == [True] * 3
    others = [r"\text{Evelyns}", "p-q", ""]
    verdicts = verifier.verify(others, [*bare[:2], bare[2]])
    assert {verdict.outcome for verdict in verdicts} == {Outcome.UNPARSABLE}


def test_gold_and_answer_are_not_swapped(verifier):
    # math-verify takes an interval for an inequality, but no inequality for an interval.
    verdicts = verifier.verify([r"\boxed{(1,2)}", r"\boxed{1<x<2}"], ["1<x<2", "(1,2)"])
    assert [v.outcome for v in verdicts] == [Outcome.CORRECT, Outcome.WRONG]


def test_a_box_that_does_not_parse_leaves_the_rest_of_the_text_to_be_read(verifier):
    completion = r"The answer: 12. So \boxed{}"
    assert isolate_answer(completion) is None and plainly(completion, "12")
    broken = r"$x=12$ so \boxed{\frac{}{}}"
    [verdict] = verifier.verify([broken], ["x=12"])
    assert isolate_answer(broken) is not None
    assert (verdict.outcome is Outcome.CORRECT) == plainly(broken, "x=12")


def test_a_reference_answer_without_meaning_is_an_error_and_says_so(verifier):
    [verdict] = verifier.verify([r"\boxed{x}"], [""])
    assert verdict.outcome is Outcome.ERROR
    assert "reference answer" in verdict.detail


def test_a_hang_is_killed_in_time_and_the_pool_serves_on(hasty):
    start = time.monotonic()
    verdicts = hasty.verify([TOWER, r"\boxed{\sqrt{8}}"], ["2", r"2\sqrt{2}"])
    assert [v.outcome for v in verdicts] == [Outcome.TIMEOUT, Outcome.CORRECT]
    assert "2 s" in verdicts[0].detail
    assert 2.0 <= time.monotonic() - start < 5.0
    assert hasty.verify([r"\boxed{2x}"], ["x+x"])[0].outcome is Outcome.CORRECT


HOSTILE = {
    "tower": TOWER,
    "tower in text": "The answer is $9^{9^{9^{9}}}$.",
    # The two texts of huggingface/Math-Verify issue 65, on which its own timeouts did not fire.
    "issue 65, power": r"\boxed{\dfrac{5^{\left(5^{\left(5^{\left(5^5\right)}\right)}"
    r" - 4\right)} - 5}{16}}",
    "issue 65, words": "{@Neillier 1276915 4951077 ник增高人权 국 "
    + "{1,1-3-10鼓励不停);5个_GENERAL2全校。 _HEADERS1 Orchestra}",
    "factorial": r"\boxed{(10^{9})!}",
    "braces": r"\boxed{" + "{" * 300 + "}" * 300 + "}",
    "open braces": r"\boxed{" * 2000,
    "parentheses": r"\boxed{" + "(" * 3000 + "1" + ")" * 3000 + "}",
    "letters": "x" * 100_000,
    "dollars": "$" * 100_000,
    "digits": "1" * 100_000,
    "boxed digits": r"\boxed{" + "9" * 20_000 + "}",
    "garbage": "".join(random.Random(1).choices("\\{}$[]^_0123456789 \n=", k=100_000)),
    "nul": "a\0b \\boxed{5\0}",
    "surrogate": "\ud800 \\boxed{\ud800}",
    "line separator": "\u2028\\boxed{\u2028}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_earn_nothing_and_cost_no_more_than_the_limit(hasty, name):
    start = time.monotonic()
    [verdict] = hasty.verify([HOSTILE[name]], ["2"])
    assert verdict.outcome is not Outcome.CORRECT
    # An isolated box that does not parse is followed by the whole text: twice the limit at most.
    assert time.monotonic() - start < 8.0


def test_the_memory_of_a_worker_is_bounded():
    with Verifier(workers=1, time_limit=20.0, memory_limit_mb=128) as small:
        [verdict] = small.verify([r"$x$ " * 400_000], ["2"])  # as many matches, all kept
        assert verdict.outcome is Outcome.ERROR
        assert "MemoryError" in verdict.detail
        assert small.verify([r"\boxed{2x}"], ["x+x"])[0].outcome is Outcome.CORRECT


def test_other_threads_may_ask_at_the_same_time(verifier):
    answers = [str(number) for number in range(40)]
    found: dict[int, list[bool]] = {}

    def ask(thread: int) -> None:
        completions = [rf"\boxed{{{n} + {thread} - {thread}}}" for n in answers]
        found[thread] = accepted(verifier.verify(completions, answers))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [True] * 40 for number in range(4)}


def test_equal_pairs_cost_one_check():
    with Verifier(workers=1, time_limit=1.0) as one:
        one.verify([r"\boxed{x}"], ["y"])  # wait for the worker
        start = time.monotonic()
        verdicts = one.verify([TOWER] * 50, ["2"] * 50)
    assert [v.outcome for v in verdicts] == [Outcome.TIMEOUT] * 50
    assert time.monotonic() - start < 10.0


def test_hangs_grow_shorter_and_stop_at_what_a_batch_may_cost():
    budget, hang, other = Budget(40.0, 5.0), Gold("2"), Gold("3")
    spent = []
    while limit := budget.limit(hang):
        spent.append(limit)
        budget.spend(hang, limit)
    assert spent[0] == 5.0 and spent == sorted(spent, reverse=True)
    assert 40.0 <= sum(spent) <= 40.25
    assert budget.limit(hang) == 0.0 and budget.limit(other) == 0.25


def test_a_batch_of_hangs_is_cut_short_and_every_other_answer_judged():
    towers = [rf"\boxed{{9^{{9^{{9^{{{n}}}}}}}}}" for n in range(9, 49)]
    with Verifier(workers=1, time_limit=4.0, batch_limit=8.0) as one:
        texts = [*towers, *[r"\boxed{\sqrt{8}}"] * 2]
        verdicts = one.verify(texts, ["2"] * 40 + [r"2\sqrt{2}", "3"])
    assert [v.outcome for v in verdicts] == [Outcome.TIMEOUT] * 40 + [
        Outcome.CORRECT,
        Outcome.WRONG,
    ]
    assert sum("not checked" in v.detail for v in verdicts) >= 20


def test_a_dead_server_is_replaced():
    with Verifier(workers=1) as one:
        one.verify([r"\boxed{x}"], ["y"])
        children = f"/proc/{os.getpid()}/task/{threading.get_native_id()}/children"
        for child in map(int, Path(children).read_text().split()):
            if b"maspo.rewards.server" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.killpg(child, signal.SIGKILL)
        assert one.verify([r"\boxed{2x}"], ["x+x"])[0].outcome is Outcome.CORRECT


def test_a_server_that_cannot_live_is_one_sentence(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with (
        Verifier(workers=1) as one,
        pytest.raises(RunError, match=r"^the verifier's process died twice, [^\n]*$"),
    ):
        one.verify([r"\boxed{x}"], ["y"])


def test_a_closed_verifier_says_so():
    one = Verifier()
    one.close()
    one.close()
    with pytest.raises(RuntimeError, match="closed"):
        one.verify([r"\boxed{x}"], ["y"])


def test_closing_one_that_still_starts_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    one = Verifier(workers=1)
    while not any(tmp_path.iterdir()):  # the workers' imports begin
        time.sleep(0.01)
    one.close()
    assert [*tmp_path.iterdir()] == []


def test_a_script_without_main_guard_works_and_is_run_once(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent(r"""
        import sys
        from maspo.rewards import Verifier
        print("started")
        verifier = Verifier()
        print(verifier.verify([r"\boxed{2x}"], ["x+x"])[0].outcome)
        assert "torch" not in sys.modules and "sympy" not in sys.modules
        """)
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout.split(), done.stderr) == (["started", "correct"], "")


def test_workers_do_not_import_torch():
    code = "import sys, maspo.rewards.server; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


@pytest.mark.parametrize(
    ("completions", "answers", "match"),
    [
        (["a"], [], "1 completions but 0"),
        (["a", "b"], ["1", 2], "answer 1 is of type int"),
        (["a", None], ["1", "2"], "completion 1 is of type NoneType"),
    ],
)
def test_input_that_cannot_be_judged_is_refused(verifier, completions, answers, match):
    with pytest.raises(InputError, match=match):
        verifier.verify(completions, answers)


def test_the_reward_pays_for_correct_answers_and_logs_every_outcome(verifier):
    reward = MathReward(verifier)
    metrics, extra = {}, {}
    texts = [r"\boxed{4}", r"\boxed{5}", "no idea", r"\boxed{2+2}"]
    paid = reward(
        prompts=["p"] * 4,
        completions=[[{"role": "assistant", "content": text}] for text in texts],
        completion_ids=[[1]] * 4,
        answer=["4"] * 4,
        trainer_state=None,
        log_metric=metrics.__setitem__,
        log_extra=extra.__setitem__,
    )
    assert paid == [1.0, 0.0, 0.0, 1.0]
    assert reward(completions=texts, answer=["4"] * 4) == paid
    assert metrics == {
        "outcome/correct": 0.5,
        "outcome/wrong": 0.25,
        "outcome/unparsable": 0.25,
        "outcome/timeout": 0.0,
        "outcome/error": 0.0,
    }
    assert extra["extracted"] == ["4", "5", "", "2+2"]
    assert reward.__name__ == "accuracy"


def test_the_reward_reads_whatever_a_chat_message_may_hold(verifier):
    parts = [
        {"type": "image"},
        {"type": "text", "text": r"\boxed{"},
        {"type": "text", "text": "4}"},
    ]
    contents = [[{"content": parts}], [{"content": None}], [{"role": "assistant"}], []]
    assert MathReward(verifier)(completions=contents, answer=["4"] * 4) == [1.0, 0.0, 0.0, 0.0]
