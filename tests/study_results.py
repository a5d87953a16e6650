"""The results of the races of `docs/studies`, written as pages write them."""

import json

from pages import DOCS
from tried import tried

from maspo.lab.race.inference import holm


def signed(value, digits=1):
    return f"{value:+.{digits}f}".replace("-", "−")


class Race:
    """The results of a race under one condition: `group` as in results.json, `lines` by objective."""

    def __init__(self, study, updates=16, staleness=0):
        file = DOCS / "studies" / study / "results.json"
        (self.group,) = (
            group
            for group in json.loads(file.read_text("utf-8"))["groups"]
            if group["updates_per_rollout"] == updates and group.get("staleness", 0) == staleness
        )
        self.lines = {one["objective"]: one for one in self.group["objectives"]}
        self.before = f"{100 * self.group['score_before']:.1f}"

    def score(self, name):
        return f"{100 * self.lines[name]['score']['value']:.1f}"

    def rate(self, name):
        """Write the learning rate of the race's runs."""
        return f"{self.lines[name]['learning_rate']:.0e}".replace("e-0", "e-")

    def runs(self, name):
        """Return the scores by seed."""
        return {seed: run["score"] for seed, run in self.lines[name]["runs"].items()}

    def points(self, name):
        """Write the difference to the baseline."""
        return signed(100 * self.lines[name]["against_baseline"]["difference"]["value"])

    def size(self, name):
        """Write the difference without its sign."""
        return self.points(name).strip("+−")

    def interval(self, name):
        """Write the interval of the difference."""
        change = self.lines[name]["against_baseline"]["difference"]
        return f"{signed(100 * change['low'])} to {signed(100 * change['high'])}"

    def change(self, name):
        """Write the difference to the baseline with its interval, as a table has it."""
        if not self.lines[name].get("against_baseline"):
            return "baseline"
        return f"{self.points(name)} ({self.interval(name)})"

    def adjusted(self):
        """Return the p-values of all comparisons, adjusted by Holm's method."""
        return holms(
            {name: (one.get("against_baseline") or {}).get("p") for name, one in self.lines.items()}
        )

    def tuned(self, name, rate):
        """Write the score of the tuning seed at a rate."""
        (found,) = (v for k, v in self.lines[name]["tried"].items() if float(k) == rate)
        return f"{100 * found:.1f}"

    def reached(self, name):
        """Write the median of the completions until the threshold."""
        found = sorted(run["completions_to_threshold"] for run in self.lines[name]["runs"].values())
        return f"{found[len(found) // 2]:,.0f}"


def holms(values):
    return dict(zip(values, holm(list(values.values())), strict=True))


def gaps(one, other):
    """Return differences of scores in points, by seed."""
    return [100 * (one[seed] - other[seed]) for seed in sorted(one)]


def span(values, form="{:.0f}"):
    """Write the least and the largest of values."""
    return f"{form.format(min(values))} to {form.format(max(values))}"


def left(study, name):
    """Write the weight that a gate left on all tokens, which is not in results.json."""
    return f"{tried(f'gates of {study}')['weight left'][name]:.2f}"


FIRST = {updates: Race("addition", updates) for updates in (1, 4, 16)}
SECOND = {updates: Race("chain_sum", updates) for updates in (4, 16)}
ABLATION, HOT, SECOND_HOT = Race("ablation"), Race("hot"), Race("chain_sum_hot")
SAME_RATE, ONE_UPDATE = Race("chain_sum_same_rate"), Race("chain_sum_one_update", 1)
