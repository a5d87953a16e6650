"""Plans and figures of races: who takes part, that only the objective differs, what is concluded."""

import json
import re

import pytest
from browser import browser, needs_chromium
from races import begun, plan, pretend, pretend_all, with_settings
from rich.console import Console
from test_report import HOSTILE, Page

from maspo.errors import InputError
from maspo.lab.console import Screen
from maspo.lab.objective_list import ABLATIONS, RIVALS, parse_entrants
from maspo.lab.race.analysis import analyse
from maspo.lab.race.executors import LocalExecutor
from maspo.lab.race.fairness import check_fairness, couplings, strangers
from maspo.lab.race.folder import RaceFolder
from maspo.lab.race.plan import Condition, Plan
from maspo.lab.race.report import write_race
from maspo.lab.race.runner import Runner, why
from maspo.lab.race.text import race_headline, short_label
from maspo.lab.race.tuning import best_rates, tuned_at_the_edge, tuning_scores

MASPO = "maspo:sigma_base=0.3,alpha=0"


# --- who takes part ------------------------------------------------------------------------------


def test_commas_part_objectives_and_their_settings():
    found = parse_entrants("grpo, maspo:sigma_base=3e-1,two_sided=true, sapo,maspo_capped:cap=null")
    assert [e.settings for e in found] == [
        {"name": "grpo"},
        {"name": "maspo", "sigma_base": 0.3, "two_sided": True},
        {"name": "sapo"},
        {"name": "maspo_capped", "cap": None},
    ]
    labels = ["grpo", "maspo:sigma_base=0.3,two_sided=true", "sapo", "maspo_capped:cap=null"]
    assert [e.label for e in found] == labels
    assert parse_entrants(",".join(labels)) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grpo,,sapo", "missing between the commas"),
        ("grpo,mapso", "did you mean 'maspo'"),
        ("maspo:sigma_bas=1", "did you mean 'sigma_base'"),
        ("maspo:sigma_base", "no key=value"),
        ("maspo:alpha=0,alpha=0.1", "given twice"),
        ("maspo,alpha=0", "must follow a colon"),
        ("alpha=0", "must follow a colon"),
        ("maspo:alpha=2", "must be 0 to 1"),
        ("grpo,grpo", "grpo and grpo are the same"),
        ("maspo,maspo:alpha=0.3", "maspo:alpha=0.3 and maspo are the same"),
    ],
)
def test_bad_objectives_get_one_sentence(text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        parse_entrants(text)


def test_the_lists_that_are_taken_without_being_named():
    assert len(parse_entrants(RIVALS)) == 8
    assert len(parse_entrants(ABLATIONS)) == 11


def test_labels_beside_curves_are_short_and_differ():
    for text in (RIVALS, ABLATIONS):
        labels = [short_label(entrant) for entrant in parse_entrants(text)]
        assert max(map(len, labels)) <= 13 and len(set(labels)) == len(labels)
    assert short_label(parse_entrants("maspo:sigma_base=0.15")[0]) == "σ_base=0.15"


# --- that it is fair -----------------------------------------------------------------------------


def test_runs_of_a_seed_differ_in_the_objective_alone():
    """Even Dr. GRPO, whose paper has other advantages and another reduction, takes what all take."""
    found = plan("grpo,dr_grpo,gspo,maspo", updates=(1, 4, 16))
    assert len(found.trials()) == 2 * 3 * 4 == len({trial.name for trial in found.trials()})
    for seed in (1, 2):
        for updates in (1, 4, 16):
            trials = [c for c in found.trials() if (c.seed, c.updates) == (seed, updates)]
            dumps = [found.recipe_of(trial).model_dump() for trial in trials]
            assert [d.pop("objective")["name"] for d in dumps] == found.labels
            assert all(dump == dumps[0] for dump in dumps)
            assert dumps[0]["seed"] == seed
            training = dumps[0]["training"]
            assert training["updates_per_rollout"] == updates
            assert 256 // updates % training["micro_batch"] == 0
            assert (training["advantages"], training["reduction"]) == ("group", "token-mean")
    assert strangers(found) == [
        "dr_grpo: its paper has advantages center and reduction seq-mean-token-sum-norm",
        "gspo: its paper has reduction seq-mean-token-mean",
    ]


def test_the_age_of_the_data_is_an_axis_like_the_number_of_updates(tmp_path):
    found = plan(updates=(4, 16), staleness=(0, 8), settings=["rollout.staleness=3"])
    assert [str(condition) for condition in found.conditions] == [
        "4 updates per rollout",
        "4 updates per rollout, data 8 rollouts old",
        "16 updates per rollout",
        "16 updates per rollout, data 8 rollouts old",
    ]
    assert len(found.trials()) == 2 * 2 * 4 == len({trial.name for trial in found.trials()})
    for trial in found.trials():
        asked = found.recipe_of(trial)
        assert asked.rollout.staleness == trial.condition.staleness
        assert ("stale8" in trial.name) == (asked.rollout.staleness == 8)
    assert plan(settings=["rollout.staleness=3"]).staleness == (3,)
    folder = begun(tmp_path / "race", found)
    for trial in found.trials():
        pretend(folder, trial, 0.5 + 0.01 * trial.condition.staleness)
    write_race(folder)
    groups = json.loads((folder.path / "results.json").read_text())["groups"]
    scores = {
        (group["updates_per_rollout"], group["staleness"]): group["objectives"][0]["score"]["value"]
        for group in groups
    }
    assert scores == pytest.approx({(4, 0): 0.5, (4, 8): 0.58, (16, 0): 0.5, (16, 8): 0.58})
    assert "data 8 rollouts old" in (folder.path / "report.md").read_text()


def test_the_micro_batch_of_a_batch_coupled_objective_is_told():
    """quickstart: 32 prompts x 8 samples = 256 completions, micro_batch 64."""
    common = {"updates": (1, 4, 16)}
    assert couplings(plan("grpo,bapo,kl_cov", **common)) == [
        f"{label}: weighs tokens by their place in the micro-batch, which was 64 of 256 completions at 1 "
        "updates per rollout and 64 of 64 completions at 4 updates per rollout and 16 of 16 completions "
        "at 16 updates per rollout"
        for label in ("bapo", "kl_cov")
    ]
    assert couplings(plan("grpo,maspo", **common)) == []
    assert couplings(plan("grpo,bapo", updates=(4,))) == []


def test_advantages_and_reduction_are_the_recipes_or_the_first_objectives():
    first = plan("dr_grpo,grpo").recipe.training
    assert (first.advantages, first.reduction) == ("center", "seq-mean-token-sum-norm")
    set_ = plan("dr_grpo,grpo", settings=["training.advantages=loo"]).recipe.training
    assert (set_.advantages, set_.reduction) == ("loo", "seq-mean-token-sum-norm")


def test_any_other_difference_is_refused():
    found = plan()
    recipes = {trial.name: found.recipe_of(trial) for trial in found.trials()}
    keys = check_fairness(recipes)
    assert list(keys.values()) == [(), ("objective",)] * 2
    name = found.trials()[1].name
    odd = recipes | {name: with_settings(recipes[name], learning_rate=1e-3, kl=0.1)}
    with pytest.raises(InputError, match=re.escape(f"{name} differs in training.kl, training.lea")):
        check_fairness(odd)
    with pytest.raises(InputError, match=r"differs in training\.kl$"):
        check_fairness(odd, tuned=True)


def test_recipes_that_ran_are_compared_and_not_those_that_were_planned(tmp_path):
    found = plan()
    folder = begun(tmp_path / "race", found)
    for trial in found.trials():
        recipe = found.recipe_of(trial)
        odd = trial.seed == 2 and trial.entrant == "grpo"
        pretend(folder, trial, recipe=with_settings(recipe, max_grad_norm=9.0) if odd else recipe)
    with pytest.raises(InputError, match=r"not fair: .*seed2 differs in training\.max_grad_norm"):
        analyse(folder)


def test_a_race_cut_short_has_the_same_seeds_of_all():
    trials = plan("grpo,sapo,maspo", seeds=3, updates=(1, 4)).trials()
    assert [trial.seed for trial in trials] == [1] * 6 + [2] * 6 + [3] * 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "at least one seed"),
        ({"updates": (3,)}, "cannot be divided into 3 updates"),
        ({"updates": (4, 4)}, "one is given twice"),
        ({"staleness": (4, 4)}, "one is given twice"),
        ({"staleness": (0, -1)}, "must be at least 0, not -1"),
        ({"rates": (1e-4, 1e-4), "tuning_seeds": 1}, "one is given twice"),
        ({"rates": (0.0,), "tuning_seeds": 1}, "must be positive"),
        ({"rates": (1e-4,)}, "at least one seed"),
        ({"rates": (1e-4,), "tuning_seeds": 1, "settings": ["seed=1000"]}, "are for tuning"),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        plan(**options)


def test_a_plan_is_read_back_as_it_was_written():
    found = plan(updates=(1, 16), staleness=(0, 4), rates=(1e-5, 1e-4), tuning_seeds=2)
    assert Plan.read(json.loads(json.dumps(found.describe()))) == found


# --- the folder ----------------------------------------------------------------------------------


def test_another_race_in_the_folder_is_refused_by_name(tmp_path):
    folder = begun(tmp_path / "race", plan())
    assert folder.open(plan(), threads=7) == 1, "the race keeps the threads that it began with"
    with pytest.raises(InputError, match="holds another race, which differs in entrants; choose"):
        folder.open(plan("grpo,sapo"), 1)
    with pytest.raises(InputError, match="differs in recipe, seeds;"):
        folder.open(plan(seeds=3, settings=["training.kl=0.1"]), 1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is no race"):
        RaceFolder(tmp_path / "other").open(plan(), 1)


def test_other_versions_do_not_go_on_with_a_race(tmp_path):
    folder = begun(tmp_path / "race", plan())
    content = folder.manifest
    content["provenance"]["versions"]["trl"] = "1.15.0"
    (folder.path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"begun with trl 1\.15\.0"):
        folder.open(plan(), 1)


def test_one_process_works_on_a_race(tmp_path):
    folder = begun(tmp_path / "race", plan())
    refused = pytest.raises(InputError, match="another process works on the race in")
    with folder.claimed(), refused, RaceFolder(tmp_path / "race").claimed():
        pass
    with folder.claimed():
        pass


def test_a_failed_process_says_why():
    log = "loading\nTraceback (most recent call last):\n  File x\nRuntimeError: no memory\n\n"
    assert why(1, log) == "exit code 1: RuntimeError: no memory"
    assert why(2, "warning: x\nmaspo: unknown model\nlast words\n") == "exit code 2: unknown model"
    assert why(-9, "") == "killed by SIGKILL, perhaps for want of memory"
    assert why(3, "") == "exit code 3: it said nothing"


def test_no_run_is_started_that_would_overrun_the_budget(tmp_path):
    found = plan("grpo,sapo,maspo")
    folder = begun(tmp_path / "race", found)
    for trial, seconds in zip(found.trials(), (90, 100, 4000), strict=False):
        pretend(folder, trial, seconds=seconds)
    with (tmp_path / "shown").open("w") as file:
        screen = Screen(Console(file=file, width=200))
        executor = LocalExecutor(found, folder, 1)
        runner = Runner(found, folder, screen, executor, parallel=2, budget=99)
        runner.run("race", found.trials())
        rest = [c for c in found.trials() if not folder.finished(c)]
        assert runner.typical(rest[0]) == 100 and runner.time_left(rest) == 150
    assert "3 of 6 runs were not started" in (tmp_path / "shown").read_text()
    assert not any(folder.log(trial).exists() for trial in rest)
    analysis = analyse(folder)
    assert [line.missing for line in analysis.groups[0].lines] == [(2,)] * 3
    assert "4 updates per rollout, seed 2 was not run: all objectives." in analysis.notes


# --- what is concluded ---------------------------------------------------------------------------

BASE, BETTER = [0.50, 0.52, 0.49, 0.51, 0.50], [0.60, 0.63, 0.58, 0.62, 0.61]


def race(tmp_path, objectives="grpo,sapo,maspo", scores=None, **options):
    found = plan(objectives, seeds=5)
    folder = begun(tmp_path / "race", found)
    pretend_all(folder, scores or {"grpo": BASE, "sapo": BASE[::-1], "maspo": BETTER}, **options)
    return folder


def test_the_figures_are_those_of_the_runs(tmp_path):
    analysis = analyse(race(tmp_path, rewards=[0.4, 0.5, 0.6, 0.6]))
    grpo, sapo, maspo = analysis.groups[0].lines
    assert grpo.score.value == pytest.approx(0.504) and grpo.iqm.value == pytest.approx(1.51 / 3)
    assert grpo.comparison is None and grpo.conclusion is None
    assert maspo.comparison.difference.value == pytest.approx(0.104)
    assert maspo.comparison.improvement.value == 1.0
    assert maspo.conclusion.finding == "better" and sapo.conclusion.finding == "none"
    assert race_headline(analysis) == (
        "3 objectives on quickstart, 5 seeds: 1 better than grpo, the rest not told apart"
    )
    assert analysis.groups[0].start == pytest.approx(0.4)
    # Four fifths of the way from 0.4 to 0.6 is 0.56: met after 3 rollouts of 256 completions.
    assert analysis.groups[0].threshold == pytest.approx(0.56)
    assert grpo.reached == (768.0,) * 5
    assert grpo.area.value == pytest.approx((0.45 + 0.55 + 0.6) / 3)
    # Entropy of a rollout's four updates: 0.1, 1.1, 2.1, 3.1.
    x, middle, error = grpo.curve("entropy")
    assert x == [256, 512, 768, 1024]
    assert middle == pytest.approx([1.6] * 4) and error == pytest.approx([0] * 4)


def test_failed_and_collapsed_runs_are_told_and_forbid_claims(tmp_path):
    folder = race(tmp_path)
    trials = {(trial.entrant, trial.seed): trial for trial in folder.plan().trials()}
    gone, fallen = trials["maspo", 3], trials["sapo", 2]
    for file in ("summary.json", "metrics.jsonl"):
        (folder.run_folder(gone) / file).unlink()
    folder.note_failure(gone, "exit code 1: <b>out of memory</b>")
    rows = [{"step": i + 1, "reward": float(i == 0), "grad_norm": 1.0} for i in range(20)]
    metrics = folder.run_folder(fallen) / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    analysis = analyse(folder)
    _, sapo, maspo = analysis.groups[0].lines
    assert maspo.failed == {3: "exit code 1: <b>out of memory</b>"} and maspo.comparison.seeds == 4
    assert maspo.conclusion.finding == "none" and "1 run has no score" in maspo.conclusion.text
    assert list(sapo.collapsed) == [2] and len(sapo.runs) == 5
    write_race(folder)
    text = (folder.path / "report.md").read_text()
    assert "5 of 5, 1 collapsed" in text and "4 of 5, 1 failed" in text
    assert "seed 3: failed (exit code 1" in text and "seed 2: collapsed (the mean reward" in text
    assert "<b>out" not in (folder.path / "report.html").read_text()


def test_runs_that_did_not_begin_alike_are_told(tmp_path):
    found = plan(seeds=2)
    folder = begun(tmp_path / "race", found)
    for trial in found.trials():
        odd = trial.seed == 2 and trial.entrant == MASPO
        pretend(folder, trial, rewards=(0.3 if odd else 0.4, 0.5))
    [note] = [note for note in analyse(folder).notes if "alike" in note]
    assert note.startswith("The runs of seed 2 (4 updates) did not begin alike")


def test_a_race_without_a_run_has_a_report_all_the_same(tmp_path):
    folder = begun(tmp_path / "race", plan(seeds=5))
    pretend(folder, folder.plan().trials()[2])
    analysis = write_race(folder)
    assert [line.missing for line in analysis.groups[0].lines] == [(1, 3, 4, 5), (1, 2, 3, 4, 5)]
    for what in (f"seed 2 was not run: {MASPO}", "seeds 1, 3, 4, 5 were not run: all objectives"):
        assert f"4 updates per rollout, {what}." in analysis.notes
    page = Page((folder.path / "report.html").read_text())
    assert "2 objectives on quickstart" in page.texts["h1"][0]
    assert page.texts["th"][:3] == ["Objective", "Difference", "P(better)"]
    assert MASPO in page.texts["th"], "a name that may be broken is whole"
    pictures = {path.name for path in (folder.path / "plots").iterdir()}
    assert {f"plots/{name}" for name in pictures} == set(page.values("src")) != set()


def test_seeds_that_follow_each_other_are_told_in_short(tmp_path):
    notes = analyse(begun(tmp_path / "race", plan(seeds=5))).notes
    assert "4 updates per rollout, seeds 1 to 5 were not run: all objectives." in notes


def test_results_of_every_run_are_on_file(tmp_path):
    folder = race(tmp_path)
    write_race(folder)
    content = json.loads((folder.path / "results.json").read_text())
    [group] = content["groups"]
    by_label = {one["objective"]: one for one in group["objectives"]}
    assert [run["score"] for run in by_label["maspo"]["runs"].values()] == BETTER
    assert by_label["maspo"]["against_baseline"]["seeds"] == 5
    assert {"reward.png", "final.png", "differences.png"} <= {
        path.name for path in (folder.path / "plots").iterdir()
    }


# --- tuning --------------------------------------------------------------------------------------


def test_each_objective_takes_the_rate_with_the_best_mean(tmp_path):
    found = plan("grpo,sapo", rates=(1e-5, 1e-4, 1e-3), tuning_seeds=2)
    folder = begun(tmp_path / "race", found)
    scores = {
        "grpo": {1e-5: (0.4, 0.5), 1e-4: (0.5, 0.6), 1e-3: (0.9, 0.0)},
        "sapo": {1e-5: (0.5, 0.5), 1e-4: (0.5, 0.5), 1e-3: (0.9, None)},
    }
    trials = found.tuning_trials()
    assert len(trials) == 2 * 3 * 2 and {trial.seed for trial in trials} == {1001, 1002}
    for trial in trials:
        score = scores[trial.entrant][trial.learning_rate][trial.seed - 1001]
        if score is not None:
            pretend(folder, trial, score)
    # Of GRPO 0.55 beats 0.45; of SAPO two are equal, and the one with a failed run is out.
    rates = best_rates(tuning_scores(found, folder))
    four = Condition(updates=4)
    assert rates == {("grpo", four): 1e-4, ("sapo", four): 1e-5}
    (edge,) = tuned_at_the_edge(found, rates)
    assert edge.startswith(
        "4 updates per rollout: sapo did best with the lowest learning rate tried, 1e-05"
    )
    chosen = found.trials(rates)
    assert {(c.entrant, c.learning_rate, c.seed) for c in chosen} == {
        (label, rate, seed) for (label, _), rate in rates.items() for seed in (1, 2)
    }
    for trial in chosen:
        pretend(folder, trial)
    analysis = analyse(folder)
    assert set(analysis.fairness.values()) == {(), ("objective", "training.learning_rate")}
    assert edge in analysis.notes
    write_race(folder)
    report = (folder.path / "report.md").read_text()
    assert "| Learning rate | 1e-05 | 0.0001 | 0.001 |" in report
    assert "| grpo | 45.0% | 55.0% | 45.0% |" in report and "| sapo | 50.0% | 50.0% | " in report
    (group,) = json.loads((folder.path / "results.json").read_text())["groups"]
    assert group["objectives"][1]["tried"] == {"1e-05": 0.5, "0.0001": 0.5, "0.001": None}
    assert "The learning rates that were tried" in (folder.path / "report.html").read_text()


# --- the page ------------------------------------------------------------------------------------


def test_nothing_in_a_race_can_act_on_the_page(tmp_path):
    folder = race(tmp_path)
    for trial, text in zip(folder.plan().trials(), HOSTILE, strict=False):
        (folder.run_folder(trial) / "summary.json").unlink()
        folder.note_failure(trial, text)
    write_race(folder)
    page = Page((folder.path / "report.html").read_text())
    assert page.tags.count("script") == 2 and "iframe" not in page.tags
    plots = {f"plots/{path.name}" for path in (folder.path / "plots").iterdir()}
    assert plots == set(page.values("src")) and page.tags.count("img") == len(plots)
    assert not [key for key, _ in page.attributes if key.startswith("on")]


@needs_chromium
def test_a_browser_shows_the_race_without_complaint(tmp_path):
    labels = [entrant.label for entrant in parse_entrants(ABLATIONS)]
    scores = {label: [v + 0.01 * i for v in BASE] for i, label in enumerate(labels)}
    found = plan(ABLATIONS, seeds=5, updates=(1, 4))
    folder = begun(tmp_path / "race", found)
    pretend_all(folder, scores, rewards=[0.4, 0.5, 0.55, 0.6])
    write_race(folder)
    with browser(tmp_path / "profile") as window:
        for width, dark in ((1200, False), (390, True)):
            window.open(folder.path / "report.html", width=width, dark=dark)
            assert window.evaluate("document.documentElement.scrollWidth") <= width
            assert window.evaluate("document.querySelectorAll('#charts svg').length") == 2 * 3
            drawn = window.evaluate(
                "[...document.querySelectorAll('path')].map(p => p.getAttribute('d'))"
            )
            assert len(drawn) >= 2 * 3 * 10 and not [d for d in drawn if "NaN" in d or "ML" in d]
            inside = (
                "[...document.querySelectorAll('.run, .range, .middle, .before')].every(e => {"
                "const a = e.getBoundingClientRect(), b = e.parentNode.getBoundingClientRect();"
                "return a.left >= b.left - 6 && a.right <= b.right + 6})"
            )
            assert window.evaluate(inside)
            colors = window.evaluate(
                "[...document.querySelectorAll('.legend .swatch')]"
                ".map(e => getComputedStyle(e).backgroundColor)"
            )
            assert len(set(colors)) == len(labels)
        assert window.complaints == []
