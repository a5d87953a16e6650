"""Parts of the manual that are made are whole; its tables of defaults and metrics are those of the code."""

import json
import re
from dataclasses import fields

import pytest
import yaml
from generate import FILLED, PARTS, defaults, filled, metrics, notebook, objectives, runs, studies
from pages import DOCS, PAGES, ROOT
from told_measurements import points

import maspo
from maspo.lab.run.charts import CHARTS
from maspo.lab.run.metrics import metric_of
from maspo.objectives import BUILT_IN
from maspo.recipes.reference import recipe_fields


@pytest.mark.parametrize(
    "file", sorted(DOCS.glob("studies/*/report.md")), ids=lambda f: f.parent.name
)
def test_the_report_of_a_race_is_that_of_its_results(file):
    report = file.read_text("utf-8")
    found = [one for study, _, one in studies.results() if study == file.parent.name]
    told = re.findall(
        r"^- (?:\d+ updates? per rollout: )?(\S+ against \S+: .*)", report, re.MULTILINE
    )
    assert set(told) == {studies.sentence_of(one) for one in found} - {None}
    for one in found:
        score = "{:.1%} [{:.1f}, {:.1f}]".format(
            one["score"]["value"], 100 * one["score"]["low"], 100 * one["score"]["high"]
        )
        count, rate = len(one["runs"]), f"{one['learning_rate']:g}"
        rows = [
            re.sub(r", \d+ collapsed", "", line).strip("| ").split(" | ")
            for line in report.splitlines()
        ]
        cells = {score, f"{count} of {count}", rate}
        assert any(row[0] == one["objective"] and cells < {*row} for row in rows)


def test_the_table_of_readme_is_the_recorded_run():
    content = (ROOT / "README.md").read_text("utf-8")
    block = re.search(r"<!-- quickstart -->(.*?)<!-- /quickstart -->", content, re.DOTALL)[1]
    first, *others = (row for row in runs.runs("quickstart") if row["versions"]["trl"] == "1.16.0")
    told = {line.split()[0]: line for line in block.splitlines() if "%" in line and "@" in line}
    assert set(told) == {"avg@8", "pass@8", "maj@8"}
    for score, line in told.items():
        shares = [
            "{:.1f}% [{:.1f}, {:.1f}]".format(*(100 * value for value in first[when][score]))
            for when in ("before", "after")
        ]
        change = points(first["difference"][score], "{:+.0f} [{:+.0f}, {:+.0f}]")
        assert line.split(None, 1)[1].split("  ") == [*shares, change]
    tokens = re.search(r"mean tokens +(\S+) +(\S+)", block).groups()
    assert tokens == tuple(str(first[when]["mean_tokens"]) for when in ("before", "after"))
    assert f"trained {first['train_seconds']} s, {first['total_seconds']} s in all" in block
    assert all(row["commit"][:7] in block for row in (first, *others))


def test_metrics_that_a_page_names_are_described():
    drawn = {series.metric for chart in CHARTS for series in chart.series}
    doors = {"maspo/weight", "maspo/ratio"}  # what slime logs
    assert {name for name in drawn if metric_of(name) is None} == set()
    for page, content in PAGES.items():
        named = re.findall(r"`((?:maspo|completions|outcome|clip_ratio)/[a-z_0-9]+)`", content)
        places = {name for name in named if (ROOT / name).exists()}
        assert [n for n in named if n not in places | doors and metric_of(n) is None] == [], page


def test_every_metric_has_a_unit_or_none_and_says_what_is_normal():
    rows = [row for row in metrics.page().splitlines() if row.startswith("| `")]
    assert len(rows) > 40
    assert all(row.split(" | ")[3].strip(" |") for row in rows)


def test_each_default_has_its_reason():
    assert set(defaults.OBJECTIVES) == set(BUILT_IN)
    known = {field.key: field.default for field in recipe_fields()}
    assert set(defaults.RECIPE) <= set(known)
    # Keys without a reason have no value of their own: nothing, or what another key is.
    rest = {key: value for key, value in known.items() if key not in defaults.RECIPE}
    named = {"name", "evaluation", "evaluation.data.source", "evaluation.data.split"}
    named |= {"evaluation.data.template"}
    assert {key: value for key, value in rest.items() if value and key not in named} == {}


def test_what_is_said_to_be_a_default_of_trl_is_one():
    from trl import GRPOConfig, ModelConfig

    names = {
        "rollout.samples": "num_generations", "rollout.temperature": "temperature", "rollout.top_p": "top_p",
        "training.learning_rate": "learning_rate", "training.warmup_steps": "warmup_steps",
        "training.optimizer.eps": "adam_epsilon", "training.weight_decay": "weight_decay",
        "training.max_grad_norm": "max_grad_norm", "training.kl": "beta",
        "model.lora.rank": "lora_r", "model.lora.alpha": "lora_alpha",
    }  # fmt: skip
    of_trl = {f.name: f.default for config in (ModelConfig, GRPOConfig) for f in fields(config)}
    found = {field.key: field.default for field in recipe_fields()}
    assert {key: found[key] for key in names} == {key: of_trl[n] for key, n in names.items()}
    assert found["training.optimizer.betas"] == [of_trl["adam_beta1"], of_trl["adam_beta2"]]
    assert of_trl["optim"] == "adamw_torch_fused"
    said = {key for key, reason in defaults.RECIPE.items() if reason.startswith(defaults.TRL)}
    assert said == {*names, "training.optimizer.betas", "training.optimizer.name"}


def test_every_objective_has_a_row_and_a_word_on_the_studies():
    assert objectives.table_of_all().count("\n| [`") == len(BUILT_IN)
    assert "[addition](../../studies/addition/report.md)" in studies.studied("maspo")
    assert "Not raced yet" in studies.studied("gspo_token")


def test_the_newest_version_with_a_date_is_that_of_the_package():
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    version, date = re.search(r"^## (\d\S+) - (\S+)$", changes, re.MULTILINE).groups()
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert (version, date) == (maspo.__version__, str(cited["date-released"]))
    assert cited["version"] == maspo.__version__


def test_every_part_has_its_page():
    named = {found[2] for content in PAGES.values() for found in FILLED.finditer(content)}
    assert named >= set(PARTS)


def test_the_parts_of_pages_are_up_to_date():
    for page in (page for page in PAGES if (DOCS / page).exists()):
        text = (DOCS / page).read_text("utf-8")
        assert filled(text) == text, f"{page}: run python scripts/renew_pages.py"


def test_the_notebook_runs_from_top_to_bottom(tmp_path):
    text = (DOCS / "learn" / "notebook.ipynb").read_text("utf-8")
    content = json.loads(text)
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert not any(cell.get("outputs") for cell in content["cells"]), (
        "the site's are those of a run"
    )
    short = tmp_path / "short.ipynb"
    short.write_text(text.replace("max_steps=40", "max_steps=4"))
    cells = [cell for cell in notebook.run(short) if cell.kind == "code"]
    assert "4 updates" in "".join(cell.printed for cell in cells)
    assert [len(cell.pictures) for cell in cells].count(1) == 2
