"""The report of evaluations: its figures, what it compares, its three forms, and a real browser."""

import json
import re

import pytest
from browser import browser, needs_chromium
from evaluations import evaluation
from test_cli import run
from test_report import HOSTILE, Page

from maspo.errors import InputError
from maspo.lab.scores.comparison import PAPER, compare_runs
from maspo.lab.scores.load import load_runs
from maspo.lab.scores.published import published
from maspo.lab.scores.report import comparison_page, write_comparison
from maspo.lab.scores.tables import comparison_markdown, figure_interval, figure_text, latex

LOW = {"aime24": ["cc11", "1111", "c111"], "mine": ["c1uu", "cccc"]}
HIGH = {"aime24": ["cccc", "1111", "c222"], "mine": ["ccuu", "ccct"]}


def compared(tmp_path, *runs, reference=None, **named):
    words = [evaluation(tmp_path / f"run{i}", run) for i, run in enumerate(runs)]
    words += [f"{name}={evaluation(tmp_path / name, run)}" for name, run in named.items()]
    return compare_runs(load_runs(words), reference and published(reference))


def shown(comparison):
    return {
        row.label: [None if c is None else tuple(map(figure_text, c)) for c in row.cells]
        for row in comparison.rows
    }


def bold(comparison):
    return {
        row.label: [None if c is None else tuple(f.best for f in c) for c in row.cells]
        for row in comparison.rows
    }


def test_the_table_holds_the_figures_and_marks_the_best(tmp_path):
    found = compared(tmp_path, GRPO=LOW, MASPO=HIGH)
    assert found.columns == ("AIME24", "mine", "Average")
    assert shown(found) == {
        "GRPO": [("25.0", "66.7"), ("62.5", "100.0"), ("43.8", "83.3")],
        "MASPO": [("41.7", "66.7"), ("62.5", "100.0"), ("52.1", "83.3")],
    }
    assert bold(found) == {  # equal figures are equally good
        "GRPO": [(False, True), (True, True), (False, True)],
        "MASPO": [(True, True), (True, True), (True, True)],
    }
    assert found.notes == ()
    # Three of 1/2, 0, 1/4 and the imagined 0 and 1: a sum of 0 has 8/125, one from 5/2 on 4/125.
    assert figure_interval(found.rows[0].cells[0][0]) == "[0.0, 83.3]"


def test_differences_are_paired_with_the_first_run(tmp_path):
    found = compared(tmp_path, GRPO=LOW, MASPO=HIGH)
    [row] = found.differences
    assert row.label == "MASPO" and found.base == "GRPO"
    assert [figure_text(f, signed=True) for f in row.cells[0]] == ["+16.7", "0.0"]
    assert [figure_text(f, signed=True) for f in row.cells[1]] == ["0.0", "0.0"]  # +1/4 and -1/4
    assert [figure_text(f, signed=True) for f in row.cells[2]] == ["+8.3", "0.0"]
    # Two of +1/4, -1/4 and the imagined -1 and 1: both ends have 1/16.
    text = comparison_markdown(found)
    assert "\N{MINUS SIGN}100.0, +100.0]" in text
    assert "MASPO has a higher avg@4 than GRPO with probability: aime24 0." in text
    assert "The variance of MASPO's avg@4 comes from problems / samples: aime24" in text


def test_rows_of_another_k_are_told_apart_and_not_compared(tmp_path):
    found = compared(tmp_path, few={"aime24": ["cc", "11"]}, many={"aime24": ["cccc", "cccc"]})
    assert not any(best for row in bold(found).values() for cell in row for best in cell)
    assert found.differences == () and found.ks == [2, 4]
    assert "The runs differ in samples: few: 2; many: 4." in found.notes
    assert any("only rows with the same k" in note for note in found.notes)
    assert "| Run | k | AIME24 | Average |" in comparison_markdown(found)
    third = compared(tmp_path / "more", few={"aime24": ["cc", "11"]}, other={"aime24": ["c1", "11"]},
                     many={"aime24": ["cccc", "cccc"]})  # fmt: skip
    assert bold(third)["few"][0] == (True, True) and bold(third)["many"][0] == (False, False)


def test_other_problems_are_never_compared_in_silence(tmp_path):
    found = compared(tmp_path, all=LOW, part=HIGH | {"aime24": HIGH["aime24"][:2]})
    assert [
        note for note in found.notes if "different problems of AIME24 (all: 3; part: 2)" in note
    ]
    assert bold(found)["part"] == [(False, False), (True, True), (False, False)]
    [row] = found.differences
    assert row.cells[0] is None and row.cells[1] is not None and row.cells[2] is None


def test_a_missing_benchmark_leaves_no_average(tmp_path):
    found = compared(tmp_path, all=LOW, part={"mine": HIGH["mine"]})
    assert shown(found)["part"] == [None, ("62.5", "100.0"), None]
    assert found.notes == ("part was not measured on AIME24: it has no average.",)


def test_other_settings_and_verifiers_are_named(tmp_path):
    words = [
        evaluation(tmp_path / "a", LOW, temperature=1.0),
        evaluation(tmp_path / "b", LOW, temperature=0.6, template="Q: {problem}"),
        evaluation(tmp_path / "c", LOW, versions={"maspo": "0.1", "math-verify": "0.8"}),
    ]
    assert compare_runs(load_runs(words)).notes == (
        "The runs differ in temperature: a: 1.0; b: 0.6; c: 1.0.",
        "The runs differ in template: a: none; b: 'Q: {problem}'; c: none.",
        "The runs differ in the version of math-verify: a: '0.9.0'; b: '0.9.0'; c: '0.8'.",
    )


def test_names_and_folders_may_hold_an_equals_sign(tmp_path):
    evaluation(tmp_path / "lr=1e-6", LOW)
    words = [str(tmp_path / "lr=1e-6"), f"σ=1={tmp_path / 'lr=1e-6'}", f"b={tmp_path / 'lr=1e-6'}"]
    assert [run.label for run in load_runs(words)] == ["lr=1e-6", "σ=1", "b"]


def test_a_single_problem_is_shown_without_an_interval(tmp_path):
    found = compared(tmp_path, {"aime24": ["c1"]}, {"aime24": ["cc"]})
    assert "| run0 | 50.0 / **100.0** | 50.0 / **100.0** |" in comparison_markdown(found)
    assert "[" not in latex(found).split("midrule")[1].split("bottomrule")[0]
    assert Page(comparison_page(found)).texts["td"][0] == "50.0 / 100.0"


# --- the published rows ------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["1.5b", "7B"])
def test_the_published_averages_are_those_of_their_columns(size):
    known = published(size)
    assert len(known.rows) == 7 and known.k == 32
    for row in known.rows.values():
        for side in (0, 1):
            mean = sum(row[name][side] for name in PAPER) / 6
            assert row["average"][side] == pytest.approx(mean, abs=0.0501)


def test_published_rows_are_labelled_and_stand_apart(tmp_path):
    words = [evaluation(tmp_path / name, {key: ["c1", "11"] for key in PAPER}) for name in "ab"]
    runs = load_runs(words)
    plain, found = compare_runs(runs), compare_runs(runs, published("1.5b"))
    assert found.rows == plain.rows and found.differences == plain.differences
    label = (
        "As published by the authors, arXiv:2602.17550, for DeepSeek-R1-Distill-Qwen-1.5B "
        "(Avg@32 / Pass@32); not measured here and not compared."
    )
    assert (
        label in comparison_markdown(found)
        and label in latex(found)
        and label in comparison_page(found)
    )
    row = "| MASPO | 41.0 / 74.8 | 28.4 / 58.0 | 82.2 / 95.0 | 78.0 / 89.7 | 30.7 / 54.1 | 47.8 / 65.7 |"
    assert f"{row} 51.4 / 72.9 |" in comparison_markdown(found)
    biggest = compare_runs(runs, published("14b"))
    assert "| MASPO | – | – | – | – | – | – | 56.4 / 71.1 |" in comparison_markdown(biggest)


def test_published_averages_need_all_six_benchmarks(tmp_path):
    found = compared(tmp_path, {"aime24": ["c1", "11"]}, reference="7b")
    assert "| MASPO | 53.2 / 82.4 | – |" in comparison_markdown(found)
    none = compared(tmp_path / "other", {"mine": ["c1", "11"]}, reference="7b")
    assert none.published_rows == ()
    assert none.notes == (
        "The published rows of DeepSeek-R1-Distill-Qwen-7B have none of these columns; theirs are "
        "aime24, aime25, amc23, average, math500, minerva, olympiadbench.",
    )


def test_the_rows_of_others_are_not_called_the_authors(tmp_path):
    runs = load_runs([evaluation(tmp_path / "a", {"aime26": ["c1", "11"], "hmmt25": ["c1", "11"]})])
    shown = comparison_markdown(compare_runs(runs, published("4b")))
    assert (
        "As published in an independent study, the mean of ten trained runs, arXiv:2609.03342"
        in shown
    )
    assert "for Qwen3-4B-Base (Avg@16 / Pass@16); not measured here" in shown
    assert "| GRPO | 6.8 / 27.7 | 3.8 / 13.5 | – |" in shown
    assert "| MASPO | 7.8 / 30.3 | 3.7 / 16.5 | – |" in shown


def test_an_unknown_size_is_refused():
    with pytest.raises(InputError, match="unknown published model size '70b'; did you mean '7b'"):
        published("70b")


# --- the three forms ---------------------------------------------------------------------------


def test_latex_has_full_rows_and_escapes_names(tmp_path):
    hostile = r"50%_of $a$ & \input{x} #1 ^~ [2pt]"
    found = compared(tmp_path, LOW, reference="7b", plain=HIGH)
    words = [f"{hostile}={tmp_path / 'run0'}", f"[b]={tmp_path / 'plain'}"]
    text = latex(compare_runs(load_runs(words), published("7b")))
    assert r"50\%\_of \$a\$ \& \textbackslash{}input\{x\} \#1 \textasciicircum{}" in text
    assert "\n{[}b] & " in text
    for source in (text, latex(found)):
        bare = re.sub(r"\\[\\%_$&#{}]", "", source)
        assert bare.count("{") == bare.count("}")
        rows = [line for line in source.splitlines() if line.endswith(r"\\")]
        spans = [re.sub(r"\\&", "", row) for row in rows if "multicolumn" not in row]
        assert {row.count("&") for row in spans} == {6}  # the run and three pairs
    assert r"\textbf{41.7} {\scriptsize [" in latex(found)


def test_markdown_shows_names_as_they_are(tmp_path):
    evaluation(tmp_path / "x", LOW)
    text = comparison_markdown(compare_runs(load_runs([f"a|b *c* <b>\n`d`={tmp_path / 'x'}"])))
    assert r"| a\|b \*c\* &lt;b&gt; \`d\` | 25.0 / 66.7" in text


def test_the_page_holds_table_curves_and_one_script(tmp_path):
    found = compared(tmp_path, GRPO=LOW, MASPO=HIGH, reference="7b")
    read = Page(comparison_page(found))
    assert "41.7 / 66.7[0.0, 100.0][0.0, 100.0]" in read.texts["td"]
    assert "avg 41.7, 95% interval [0.0, 100.0]; pass 66.7, 95% interval [0.0, 100.0]" in (
        read.values("title")
    )
    data = json.loads(read.texts["script"][0])
    assert data["x"] == {"k": [1, 2, 3, 4]}
    [aime, _] = data["charts"]
    # pass@k of 2, 0, 1 correct of 4 is 1 - C(4 - c, k) / C(4, k), averaged over the problems.
    expected = [3 / 4, 1 / 2 + 5 / 6, 3 / 4 + 1, 2]
    assert aime["series"][0]["raw"] == pytest.approx([e / 3 for e in expected], rel=1e-4)
    assert read.values("src") == read.values("href") == []
    [policy] = [value for value in read.values("content") if "default-src" in value]
    assert "default-src 'none'" in policy and "unsafe-inline" not in policy.split("script-src")[1]


def test_hostile_names_stay_text(tmp_path):
    plain = Page(comparison_page(compared(tmp_path / "plain", LOW, HIGH)))
    words = []
    for i, text in enumerate(HOSTILE):
        where = evaluation(tmp_path / str(i), {text: ["c1"]}, model=text, template=text)
        words.append(f"{text}={where}")
    read = Page(comparison_page(compare_runs(load_runs(words))))
    assert set(read.tags) <= set(plain.tags) | {"ul", "li"}
    assert not [key for key, _ in read.attributes if key.startswith("on")]
    assert set(HOSTILE) <= set(read.texts["th"]) and set(HOSTILE) <= set(read.texts["td"])


@needs_chromium
def test_a_browser_shows_the_page_without_complaint(tmp_path):
    names = {"</script><script>document.title='hit'</script>": LOW, "a long name " * 8: HIGH}
    words = []
    for i, (name, benchmarks) in enumerate(names.items()):
        words.append(f"{name}={evaluation(tmp_path / str(i), benchmarks)}")
    words.append(f"k=2={evaluation(tmp_path / 'two', {'aime24': ['c1'], 'mine': ['c1', '11']})}")
    [*_, path] = write_comparison(compare_runs(load_runs(words), published("7b")), tmp_path / "out")
    with browser(tmp_path / "profile") as window:
        for width, dark in ((1200, False), (390, True)):
            window.open(path, width=width, dark=dark)
            assert window.evaluate("document.documentElement.scrollWidth") <= width
            text = window.evaluate("document.body.innerText")
            for expected in ("41.7 / 66.7", "Published by the authors", "53.2 / 82.4", "</script>"):
                assert expected in text
            assert window.evaluate("document.querySelectorAll('#charts svg').length") == 2
            drawn = window.evaluate(
                "[...document.querySelectorAll('path')].map(p => p.getAttribute('d'))"
            )
            assert len(drawn) >= 6 and not [d for d in drawn if "NaN" in d or "ML" in d]
            dark_page = window.evaluate("getComputedStyle(document.body).backgroundColor")
            assert dark_page == ("rgb(22, 24, 27)" if dark else "rgb(251, 250, 247)")
            labels = "[...document.querySelectorAll('svg .name')].map(t => t.getBBox().y)"
            assert min(window.evaluate(labels)) >= 0  # none is cut off
        title = window.evaluate("document.title")
        window.evaluate(
            "document.querySelector('#charts svg').dispatchEvent(new PointerEvent('pointermove', "
            "{clientX: document.querySelector('#charts svg').getBoundingClientRect().left}))"
        )
        assert window.evaluate("document.querySelector('output').textContent").startswith("k = 1 ·")
        assert window.complaints == []
    assert title == "Avg@k / Pass@k: evaluation report"


# --- bad input ---------------------------------------------------------------------------------


def damaged(**changes):
    def apply(content):
        content["benchmarks"]["aime24"] |= changes
        return json.dumps(content)

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: "{", "scores.json is not JSON"),
        (lambda content: "[]", "valid dictionary"),
        (lambda content: json.dumps(content | {"benchmarks": {}}), "benchmarks"),
        (lambda content: json.dumps({"model": "x"}), "versions: Field required"),
        (damaged(metrics={}), "benchmarks.aime24: the metric avg@4 of 4 samples is missing"),
        (damaged(pass_curve={}), "every k from 1 to 4"),
        (damaged(correct={"aime24-0": 1}), "all 3 problems"),
        (damaged(correct={f"aime24-{i}": 9 for i in range(3)}), "9 correct of 4 samples"),
        (damaged(truncated=2), "benchmarks.aime24.truncated"),
    ],
)
def test_damaged_scores_get_one_sentence(tmp_path, damage, message):
    file = tmp_path / "run" / "scores.json"
    evaluation(file.parent, LOW)
    file.write_text(damage(json.loads(file.read_text())))
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        compare_runs(load_runs([str(file.parent)]))
    assert "\n" not in str(caught.value)


def test_folders_that_hold_no_scores_get_one_sentence(tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        load_runs([str(tmp_path / "nowhere")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no scores\.json: no evaluation"):
        load_runs([str(tmp_path / "empty")])
    (tmp_path / "empty" / "eval.json").write_text("{}")
    with pytest.raises(InputError, match="run: maspo score"):
        load_runs([str(tmp_path / "empty")])
    for name in ("a", "b"):
        evaluation(tmp_path / name / "eval", LOW)
    with pytest.raises(InputError, match="two runs are called 'eval'; name them: NAME=FOLDER"):
        load_runs([str(tmp_path / name / "eval") for name in ("a", "b")])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is not a folder"):
        write_comparison(compared(tmp_path / "c", LOW), tmp_path / "file")


def test_the_command_writes_three_files(tmp_path):
    words = [f"GRPO={evaluation(tmp_path / 'a', LOW)}", f"MASPO={evaluation(tmp_path / 'b', HIGH)}"]
    done = run("report", *words, "--reference", "7b", "-o", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "report.md", "report.tex", "report.html",
    }  # fmt: skip
    assert (tmp_path / "out" / "report.md").read_text("utf-8") in done.stdout


def test_a_mean_reward_is_a_column_where_it_says_more_than_the_verdicts(tmp_path):
    words = [evaluation(tmp_path / name, LOW) for name in ("plain", "rewarded")]
    assert "Mean reward" not in comparison_markdown(compare_runs(load_runs(words)))
    file = tmp_path / "rewarded" / "scores.json"
    content = json.loads(file.read_text())
    content["benchmarks"]["aime24"]["score"] = 0.375
    file.write_text(json.dumps(content))
    found = compare_runs(load_runs(words))
    assert "| Mean reward |" in comparison_markdown(found) and "| 0.375 |" in comparison_markdown(
        found
    )
    assert "0.375" in Page(comparison_page(found)).texts["td"]


def test_the_variance_of_runs_of_one_recipe_is_split_into_their_seeds_too(tmp_path):
    """One problem always right and the other never, of the second run none; samples say nothing."""
    recipe = "name: {}\nseed: {}\nobjective:\n  name: {}\n"
    words = []
    for name, seed, objective, answers in (
        ("a", 0, "maspo", ["cc", "cc"]),
        ("b", 1, "maspo", ["11", "11"]),
        ("c", 2, "grpo", ["cc", "11"]),
    ):
        words.append(evaluation(tmp_path / name / "evaluations" / "after", {"aime24": answers}))
        (tmp_path / name / "recipe.yaml").write_text(recipe.format(name, seed, objective))
    found = compare_runs(load_runs(words))
    [told] = [one for one in found.chances if "training seeds" in one]
    # Means of runs 1 and 0: a variance of 1/2, of their mean 1/4. Both problems have a mean of 1/2.
    assert told == (
        "The variance of the mean avg@2 of a after, b after, one recipe with 2 seeds, "
        "comes from problems / samples / training seeds: aime24 0% / 0% / 100%."
    )
    page = Page(comparison_page(found))
    assert [text for text in page.texts["li"] if "variance" in text or "probability" in text] == [
        *found.chances
    ]
    assert all(f"- {one}" in comparison_markdown(found).replace("\\", "") for one in found.chances)
