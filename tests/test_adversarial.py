"""Hostile completions by the hundred: one verdict each, in order, in bounded time and memory."""

import time
from collections import Counter

import pytest
from adversarial import CORPUS, ISSUE_65
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maspo.rewards import Gold, Outcome, Verdict, Verifier

LIMIT, WORKERS = 0.3, 2


@pytest.fixture(scope="module")
def hasty():
    with Verifier(workers=WORKERS, time_limit=LIMIT, memory_limit_mb=1024) as one:
        one.verify([r"\boxed{x}"], ["y"])
        yield one


def test_the_corpus_costs_no_more_than_its_hangs_and_every_text_gets_its_verdict(hasty):
    assert len(CORPUS) >= 200 and ISSUE_65.items() <= CORPUS.items()
    # Between the hostile texts stand numbers: a verdict out of place would show.
    texts = [text for n, body in enumerate(CORPUS.values()) for text in (body, rf"\boxed{{{n}}}")]
    golds = [gold for n in range(len(CORPUS)) for gold in ("x^2+34", str(n))]
    start = time.monotonic()
    verdicts = hasty.verify(texts, golds)
    seconds = time.monotonic() - start
    assert len(verdicts) == len(texts) and all(isinstance(one, Verdict) for one in verdicts)
    assert [v.answer for v in verdicts[1::2]] == [str(n) for n in range(len(CORPUS))]
    assert {v.outcome for v in verdicts[1::2]} == {Outcome.CORRECT}
    hostile = dict(zip(CORPUS, verdicts[::2], strict=True))
    counts = Counter(verdict.outcome for verdict in hostile.values())
    print(f"{seconds:.1f} s", dict(counts))
    print([name for name, v in hostile.items() if v.outcome is Outcome.TIMEOUT])
    assert counts[Outcome.CORRECT] == 0 and sum(counts.values()) == len(CORPUS)
    assert counts[Outcome.UNPARSABLE] and counts[Outcome.TIMEOUT]
    assert all(v.detail for v in hostile.values() if v.outcome in (Outcome.TIMEOUT, Outcome.ERROR))
    # A hang costs its limit and a new worker; the rest is work that ends by itself.
    assert seconds < 20 + (counts[Outcome.TIMEOUT] + counts[Outcome.ERROR]) * 2 * (LIMIT + 0.5)
    assert hasty.verify([r"\boxed{2x}"], ["x+x"])[0].outcome is not Outcome.UNPARSABLE


PIECES = (
    r"\frac|\sqrt|{|}|(|)|^|_|+|-|=|,|x|2|34|.|$| |\boxed{|\left(|\right)|\{|\}|\text{cm}|\%|\pi|e9|!"
    r"|\infty|\cup|<|\begin{pmatrix}|&|\\|\end{pmatrix}|answer is|####|\|"
)
MATHS = st.lists(st.sampled_from(["\n", *PIECES.split("|")]), max_size=25).map("".join)
TEXT = st.one_of(st.text(max_size=60), MATHS, MATHS.map(r"\boxed{{{}}}".format))
TEXTS = st.lists(TEXT, min_size=40, max_size=40)
GOLDS = st.sampled_from(
    [
        "34",
        r"\frac{1}{2}",
        "(1,2]",
        "x^2+1",
        Gold("4.5e33", relative=1e-4),
        Gold("166", unit="$cm^2"),
    ]
)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(TEXTS, GOLDS)
def test_any_text_gets_one_verdict(hasty, texts, gold):
    verdicts = hasty.verify(texts, [gold] * len(texts))
    assert len(verdicts) == len(texts)
    assert {verdict.outcome for verdict in verdicts} <= set(Outcome)


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(MATHS, min_size=8, max_size=8))
def test_any_reference_answer_gets_a_verdict(hasty, answers):
    golds = [Gold(answer, relative=1e-4) if n % 2 else answer for n, answer in enumerate(answers)]
    assert len(hasty.verify([r"\boxed{34 x}"] * len(golds), golds)) == len(golds)
