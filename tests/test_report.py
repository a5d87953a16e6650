"""The report of a run: its numbers, its words, and that nothing a model wrote can act in it."""

import base64
import hashlib
import json
from html.parser import HTMLParser

import pytest
from evaluations import write_evaluation

from maspo.errors import InputError
from maspo.lab.run import text
from maspo.lab.run.report import write_report

HOSTILE = [
    "</script><script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "</pre></details><iframe src=//example.org></iframe>",
    "\"><svg onload='alert(1)'> {{ 7 * 7 }} {% raw %} & &lt; <!--",
    "</style><style>*{display:none}</style>",
]
VOID = {"meta", "br", "img", "link", "input", "wbr"}


class Page(HTMLParser):
    """Reads a page into tags, attributes, and the text of each kind of element."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.attributes, self.open = [], [], []
        self.texts = {}
        self.feed(source)
        assert self.open == [], "elements left open"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def values(self, name):
        return [value for key, value in self.attributes if key == name]


def lines(path, values):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(v) + "\n" for v in values), "utf-8")


SUMMARY = {
    "objective": {
        "name": "maspo",
        "title": "MASPO",
        "about": "A gate.",
        "sigma_base": 1.0,
        "alpha": 0.3,
    },
    "updates_per_rollout": 8,
    "train_seconds": 96.3,
    "total_seconds": 7500.0,
    "steps": 40,
    "before": {
        "avg@8": 0.41,
        "pass@8": 0.7,
        "intervals": {"avg@8": [0.37, 0.45], "pass@8": [0.6, 0.8]},
        "problems": 3,
        "samples": 2,
        "mean_tokens": 120.4,
        "truncated": 0.125,
        "outcomes": {"correct": 3, "wrong": 3},
    },
    "after": {
        "avg@8": 0.66,
        "pass@8": 0.9,
        "intervals": {"avg@8": [0.62, 0.7], "pass@8": [0.8, 0.95]},
        "problems": 3,
        "samples": 2,
        "mean_tokens": 90.0,
        "truncated": 0.0,
        "outcomes": {"correct": 4, "wrong": 1, "timeout": 1},
    },
    "difference": {"avg@8": [0.25, 0.21, 0.29]},
}
ROWS = [
    {"step": 1, "seconds": 2.5, "reward": 0.25, "maspo/gate_active": 0.0, "maspo/gate_mean": 1.0},
    {"step": 2, "seconds": 5.0, "reward": None, "maspo/gate_active": 0.06, "maspo/gate_mean": 0.99},
]


@pytest.fixture
def run(tmp_path):
    """A small finished run: `up` got better, `down` worse, `even` stayed."""
    folder = tmp_path / "my-run"
    folder.mkdir()
    lines(folder / "metrics.jsonl", ROWS)
    before = [("up", "wrong"), ("up", "wrong"), ("down", "correct"), ("even", "correct")]
    after = [("up", "correct"), ("up", "wrong"), ("down", "timeout"), ("even", "correct")]
    for name, side in (("before", before), ("after", after)):
        found = [(p, n % 2, o, f"{name} {p} {n}") for n, (p, o) in enumerate(side)]
        write_evaluation(folder / "evaluations" / name, found, rollouts=5 * (name == "after"))
    (folder / "summary.json").write_text(json.dumps(SUMMARY))
    (folder / "recipe.yaml").write_text("objective:\n  name: maspo\n")
    (folder / "provenance.json").write_text(json.dumps({"versions": {"torch": "2.13"}, "seed": 7}))
    return folder


def read(run):
    path = write_report(run)
    assert path == run / "report.html"
    return Page(path.read_text("utf-8"))


def test_the_page_tells_the_numbers_of_the_run(run):
    page = read(run)
    assert page.texts["h1"] == [
        "Avg@8 went from 41% to 66% (+25 points, 95% interval [+21, +29]) "
        "in 96 s of training with MASPO, 8 updates per rollout."
    ]
    [text] = page.texts["main"]
    for expected in ("41.0%", "66.0%", "[+21.0, +29.0]", "12.5%", "120", "2 h 5 min", "my-run"):
        assert expected in text
    assert "the gate touched 3.0% of the tokens, and 6.0% at its busiest step" in text
    assert "a token kept 99.50% of its weight (99.00% at the lowest step)" in text
    assert {"versions.torch", "seed"} <= set(page.texts["th"])
    assert "objective:\n  name: maspo\n" in page.texts["pre"]
    assert "left:37.00%;width:8.00%" in page.values("style")


def test_problems_are_sorted_by_what_training_did_to_them(run):
    page = read(run)
    assert page.values("data-change") == ["better", "worse", "same"]
    buttons = page.texts["button"]
    assert buttons[:4] == ["All 3", "More correct 1", "Fewer correct 1", "Unchanged 1"]
    assert {"before up 0", "after up 1", "after even 3"} <= set(page.texts["pre"])
    assert any("timeout" in value for value in page.values("class"))


def test_the_curves_carry_the_logged_values(run):
    data = json.loads(read(run).texts["script"][0])
    assert data["x"] == {"Optimizer step": [1, 2], "Seconds": [2.5, 5]}
    charts = {chart["axis"]: chart["series"][0]["raw"] for chart in data["charts"]}
    assert charts == {
        "Mean reward": [0.25, None],
        "Tokens held back": [0, 0.06],
    }
    pictures = {path.name for path in (run / "plots").iterdir()}
    assert pictures == {"reward.png", "gate_active.png"}
    assert (run / "plots" / "reward.png").read_bytes().startswith(b"\x89PNG")


def test_a_long_run_is_thinned_to_means_that_keep_sparse_metrics(run):
    rows = [{"step": s, "entropy": 1.0 + s % 2, "reward": s if s % 8 == 0 else None}
            for s in range(1, 1601)]  # fmt: skip
    lines(run / "metrics.jsonl", rows)
    page = read(run)
    data = json.loads(page.texts["script"][0])
    series = {chart["axis"]: chart["series"][0]["raw"] for chart in data["charts"]}
    assert series["Entropy (nats a token)"] == [1.5] * 800
    assert series["Mean reward"][:8] == [None, None, None, 8, None, None, None, 16]
    assert "means of 2 logged steps" in page.texts["main"][0]


def test_the_page_needs_no_network_and_runs_one_script(run):
    page = read(run)
    assert not {"link", "iframe", "object", "base", "form"} & set(page.tags)
    # The pictures that lie beside it, where there is no JavaScript.
    assert page.values("href") == [] and all(src.startswith("plots/") for src in page.values("src"))
    assert page.tags.count("script") == 2 and page.values("type").count("application/json") == 1
    digest = base64.b64encode(hashlib.sha256(page.texts["script"][1].encode()).digest()).decode()
    [policy] = [value for value in page.values("content") if "default-src" in value]
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1]


def escaped(text):
    return text.replace("{", "{{").replace("}", "}}")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(run, text):
    tags = set(read(run).tags)
    scripts = read(run).texts["script"]
    for side in ("before", "after"):
        place = run / "evaluations" / side
        write_evaluation(place, [(text, 0, "wrong", text)], gold=text, prompt=escaped(text))
    (run / "recipe.yaml").write_text(text)
    (run / "provenance.json").write_text(json.dumps({text: text}))
    summary = SUMMARY | {"objective": {"title": text, text: text}}
    (run / "summary.json").write_text(json.dumps(summary))
    page = read(run)
    assert set(page.tags) <= tags
    assert page.texts["script"] == scripts
    assert not [key for key, _ in page.attributes if key.startswith("on")]
    assert page.texts["pre"] == [text] * 4  # prompt, before, after, recipe
    assert text in page.texts["h1"][0]


def test_characters_that_utf8_cannot_carry_do_not_stop_the_report(run):
    found = [("up", 0, "wrong", "a\ud800b\x00\x1b[31m 数")]
    write_evaluation(run / "evaluations" / "after", found, rollouts=5)
    assert any("a?b" in text and "数" in text for text in read(run).texts["pre"])


def test_a_big_run_makes_a_page_that_opens_at_once(run):
    text = "start " + "x" * 6000 + " end"
    for side in ("before", "after"):
        many = [(str(p), i, "wrong", text) for p in range(500) for i in range(4)]
        write_evaluation(run / "evaluations" / side, many)
    page = read(run)
    assert (run / "report.html").stat().st_size < 1_500_000
    assert len(page.values("data-change")) == 167
    assert "167 of 500 problems (evenly spaced)" in page.texts["main"][0]
    [shortened] = {t for t in page.texts["pre"] if t.startswith("start ")}
    assert shortened.endswith(" end") and "2,010 characters left out" in shortened


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("metrics.jsonl", "This run has logged no metrics."),
        ("summary.json", "This run was not evaluated, or has not finished."),
        ("evaluations/after/verdicts.jsonl", "prompt of up"),
        ("evaluations/before/eval.json", "prompt of up"),
        ("recipe.yaml", "Provenance"),
        ("provenance.json", "Recipe"),
    ],
)
def test_a_missing_piece_is_left_out(run, missing, sentence):
    (run / missing).unlink()
    assert sentence in read(run).texts["main"][0]


def test_an_empty_folder_still_gives_a_page(tmp_path):
    text = read(tmp_path).texts["main"][0]
    assert "This run kept no samples." in text and "logged nothing about its gate" in text
    assert not (tmp_path / "plots").exists()


def test_input_errors_name_the_place(run, tmp_path):
    with pytest.raises(InputError, match="not a run folder"):
        write_report(tmp_path / "nowhere")
    (run / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2, \n')
    with pytest.raises(InputError, match=r"metrics\.jsonl, line 2 is not JSON"):
        write_report(run)


def test_headlines_for_what_was_measured():
    only_before = {k: v for k, v in SUMMARY.items() if k not in ("after", "difference")}
    assert text.headline(only_before).startswith("Avg@8 was 41% before training in 96 s")
    small = SUMMARY | {
        "objective": {"title": "GRPO"},
        "updates_per_rollout": 1,
        "after": SUMMARY["after"] | {"avg@8": 0.402},
        "difference": {"avg@8": [-0.008, -0.03, 0.014]},
    }
    assert text.headline(small) == (
        "Avg@8 went from 41.0% to 40.2% (\N{MINUS SIGN}0.8 points, 95% interval [\N{MINUS SIGN}3.0, "
        "+1.4]) in 96 s of training with GRPO, 1 update per rollout."
    )
    assert (
        text.no_change_warning(small) == "The interval holds zero: this run alone shows no change."
    )
    assert text.no_change_warning(SUMMARY) is None


def test_a_gate_that_never_acted_is_said_plainly():
    rows = [{"maspo/gate_active": 0.0}, {"maspo/gate_active": 0}]
    [idle] = text.gate_words({"objective": {"name": "maspo"}, "updates_per_rollout": 1}, rows)
    assert idle.startswith("The gate never acted in this run: with one update per rollout")
    [idle] = text.gate_words({"objective": {"name": "maspo"}, "updates_per_rollout": 4}, rows)
    assert idle.startswith("The gate never acted in this run: at no logged step")
    [clip] = text.gate_words({"objective": {"shape": "hard"}}, [{"clip_ratio/region_mean": 0.02}])
    assert clip == "Over the run the clip touched 2.0% of the tokens, and 2.0% at its busiest step."
