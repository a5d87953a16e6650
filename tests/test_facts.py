"""The facts line of a report."""

from maspo.lab.run.facts import facts
from maspo.recipes import load_recipe


def test_two_runs_are_told_apart_by_their_facts():
    recipe = load_recipe("quickstart", ["objective={name: maspo, alpha: 0.5}", "seed=7"])
    found = facts(recipe, {"parameters": 461056, "train_seconds": 30.2, "total_seconds": 180})
    assert found["objective"] == "MASPO(alpha=0.5)", "what differs from its defaults, and no more"
    assert (found["seed"], found["parameters"]) == ("7", "461,056")
    assert found["batch"] == "32 prompts x 8 samples, 4 updates"
    assert (found["training"], found["with evaluation"]) == ("30 s", "3 min")
    assert "KL" not in found and "parameters" not in facts(recipe, {})
