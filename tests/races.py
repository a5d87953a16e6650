"""Races for tests whose runs nobody ran: folders with the files that a race leaves."""

import json

from maspo.lab.race.folder import RaceFolder
from maspo.lab.race.planning import make_plan
from maspo.recipes import dump_recipe, load_recipe


def plan(objectives="grpo,maspo:sigma_base=0.3,alpha=0", *, settings=(), **options):
    """A race on the quickstart, of two seeds unless told otherwise."""
    return make_plan(load_recipe("quickstart", settings), objectives, **({"seeds": 2} | options))


def begun(path, planned):
    """A race of which no run is done."""
    folder = RaceFolder(path)
    folder.open(planned, 1)
    return folder


def pretend(folder, trial, score=0.5, *, rewards=(0.4, 0.5), before=0.4, seconds=10.0, recipe=None):
    """Leave what a finished run leaves: a score after training and a reward for each rollout."""
    place = folder.run_folder(trial)
    place.mkdir(parents=True)
    recipe = recipe or folder.plan().recipe_of(trial)
    (place / "recipe.yaml").write_text(dump_recipe(recipe))
    sides = {"before": {"avg@8": before, "pass@8": 0.9}, "after": {"avg@8": score, "pass@8": 0.9}}
    summary = sides | {"total_seconds": seconds, "train_seconds": seconds / 2}
    (place / "summary.json").write_text(json.dumps(summary))
    origin = {"commit": "c0ffee", "hardware": {"platform": "a machine"}}
    (place / "provenance.json").write_text(json.dumps(origin))
    rows = []
    for reward in rewards:
        for update in range(trial.updates):
            row = {"step": len(rows) + 1, "entropy": 0.1 + update, "maspo/gate_mean": 0.9}
            row |= {"grad_norm": 1.0} | ({} if update else {"reward": reward})
            rows.append(row)
    (place / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def pretend_all(folder, scores, **options):
    """Finish all runs; `scores` gives, by label, one score for each seed."""
    planned = folder.plan()
    for trial in planned.trials():
        pretend(folder, trial, scores[trial.entrant][planned.seeds.index(trial.seed)], **options)


def with_settings(recipe, **training):
    """A recipe with other settings of its training."""
    return recipe.model_copy(update={"training": recipe.training.model_copy(update=training)})
