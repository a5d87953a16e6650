"""Every measured figure on a page is computed, from a file or from the code."""

import json
import runpy

import pytest
import told_code
import told_first_task
import told_measurements
import told_second_task
import told_stale
from figures import EXCEPTIONS, SOURCES, joined, plain, without_source
from generate import coverage
from pages import DOCS, PAGES, ROOT

FILES = told_code, told_first_task, told_measurements, told_second_task, told_stale
"""Where sources stand. A new file has to be imported here."""


@pytest.fixture(scope="module")
def told():
    """Compute every source once: the sentences of each page."""
    found = {page: [] for page in PAGES}
    for source in SOURCES:
        sentences = list(source.compute())
        assert sentences, source.compute.__name__
        for page in source.pages:
            found[page] += sentences
    return found


@pytest.mark.parametrize("page", PAGES)
def test_a_page_tells_what_its_sources_compute(page, told):
    text = plain(PAGES[page])
    assert [s for s in told[page] if text.count(joined(s)) != 1] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_figure_of_a_page_has_a_source(page, told):
    excepted = list(EXCEPTIONS.get(page, ()))
    assert [s for s in excepted if plain(PAGES[page]).count(s) != 1] == []
    assert without_source(page, [*told[page], *excepted]) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1.4 points ahead (95 % interval +0.3 to +2.4)", ["1.4 points", "95 %", "+0.3", "+2.4"]),
        ("agree to 2.4e-6 and 1e-12", ["2.4e-6", "1e-12"]),
        ("8,489 wrong in 8.2 s, 299 MiB, 0.46M", ["8,489", "8.2 s", "299 MiB", "0.46M"]),
        ("Seeds 1 to 3 gained +22 (+8 to +35)", ["+22", "+8", "+35"]),
        ("between 67 and 71 %, 68 to 73 %", ["67 and 71 %", "68 to 73 %"]),
        ("TRL 1.14.1 to 1.16, torch 2.13, arXiv:2602.17550, 1.5B at commit 6e23073", []),
        ("`--set lr=2e-5`, [1.5 times](a/1.5.md)", ["1.5 times"]),
    ],
)
def test_what_a_figure_is(text, found, monkeypatch):
    monkeypatch.setitem(PAGES, "a page", text)
    assert [one.partition(":")[0] for one in without_source("a page", [])] == found


def test_what_was_tried_by_hand_says_how():
    rows = [json.loads(line) for line in (DOCS / "tried.jsonl").read_text("utf-8").splitlines()]
    assert len({row["what"] for row in rows}) == len(rows)
    for row in rows:
        assert {"page", "date", "commit", "command", "versions", "machine", "values"} <= set(row)
        assert row["page"] in PAGES, row["what"]


def test_a_row_of_the_coverage_comes_out_again():
    script = runpy.run_path(str(ROOT / "scripts" / "coverage.py"))
    assert script["of_problems"](0, sets=2000, resamples=1000) == coverage.rows("problems")[0]
    assert script["of_runs"]("normal", 3, sets=2000) == coverage.rows("runs")[0]
