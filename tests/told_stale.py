"""What the pages tell of the second study, from the `results.json` of its races."""

import json
import re
import statistics

from figures import tells
from generate.studies import kind_of, sentence_of
from pages import DOCS
from study_results import Race, left, signed

from maspo.lab.race.inference import compared

STUDY, CHOOSE = "studies/stale/README.md", "choose/index.md"
GRPO, WIDE, NARROW, DRIFT = "grpo", "maspo", "maspo:sigma_base=0.1", "maspo_drift"
CAP, NO_MASS = "maspo:cap=3", "maspo:sigma_base=0.1,alpha=0"
OLD = 4, 16
STALE, HOT = ({old: Race(study, 4, old) for old in OLD} for study in ("stale", "stale_hot"))
NORM = Race("stale_norm", 4, 16)
RATES = json.loads((DOCS / "studies/stale/results.json").read_text("utf-8"))["plan"]["sweep"]
HIGHEST = RATES[-1]


def curve(old, name):
    """Return what the race found of an objective at all rates."""
    return next(one for one in STALE[old].group["sweep"] if one["label"] == name)


def at(old, name, rate):
    """Return the scores at a rate, by seed."""
    return {s: scores[RATES.index(rate)] for s, scores in curve(old, name)["scores"].items()}


def best(old, name):
    """Return the scores at the objective's best rate, by seed."""
    return at(old, name, curve(old, name)["best_rate"])


def points(scores):
    return f"{100 * statistics.fmean(scores.values()):.1f}"


def change(one, other):
    """Write a difference, paired by seed, with its interval."""
    found = compared(one, other).difference
    return f"{signed(100 * found.value)} ({signed(100 * found.low)} to {signed(100 * found.high)})"


def both(write):
    """Write something of both ages of the data."""
    return " and ".join(write(old) for old in OLD)


def rivals(old):
    return [one["label"] for one in STALE[old].group["sweep"]][1:]


def holds_zero(one, other):
    found = compared(one, other).difference
    return found.low <= 0 <= found.high


def findings(old):
    """Return what the race says of each objective at its best rate, by objective."""
    return {
        name: kind_of(sentence_of(STALE[old].lines[name]) or "") for name in (GRPO, *rivals(old))
    }


@tells(STUDY)
def the_answer():
    for race in HOT.values():
        assert race.adjusted()[NARROW] < 0.05 and float(race.points(NARROW)) > 0
    for old in OLD:
        means = {name: points(at(old, name, HIGHEST)) for name in (GRPO, *rivals(old))}
        assert min(means, key=lambda name: float(means[name])) == WIDE
        assert not {"better", "worse"} & {*findings(old).values()}
    yield (
        f"At 2e-4, too high for all, it ends at {both(lambda old: HOT[old].score(WIDE))} % (data 4 and 16 rollouts old, ten seeds), "
        f"with σ_base 0.1 at {both(lambda old: HOT[old].score(NARROW))} %"
    )


@tells(STUDY)
def tuned():
    gaps = {n: 100 * compared(best(4, n), best(4, GRPO)).difference.value for n in rivals(4)}
    assert {*findings(4).values()} == {"no difference shown"}
    yield (
        f"Data 4 rollouts old: between {signed(min(gaps.values()))} and {signed(max(gaps.values()))} points of GRPO, every interval holds zero."
    )
    hints = [name for name, kind in findings(16).items() if kind == "hint of better"]
    assert hints == [WIDE, DRIFT, "maspo_calibrated"]
    lowest = min(STALE[16].adjusted()[name] for name in hints)
    yield (
        f"Data 16 rollouts old: MASPO as published {STALE[16].change(WIDE)}, `maspo_drift` {STALE[16].change(DRIFT)}, `maspo_calibrated` "
        f"{STALE[16].change('maspo_calibrated')}, not confirmed after Holm (the smallest p is {lowest:.2f})"
    )
    shown = [compared(best(o, n), best(o, GRPO)).shown for o in OLD for n in rivals(o)]
    yield f"Five seeds would show, 4 times in 5, {100 * min(shown):.1f} to {100 * max(shown):.1f} points, by objective."


@tells(STUDY)
def the_narrow_gate():
    def tolerance(name):
        return both(lambda old: f"{curve(old, name)['tolerance']['value']:.1f}")

    yield (
        f"It tolerates {tolerance(NARROW)} times its best rate, GRPO {tolerance(GRPO)}, MASPO as published {tolerance(WIDE)}"
    )
    largest = max(race.adjusted()[NARROW] for race in HOT.values())
    yield (
        f"at 2e-4 the narrow gate is {both(lambda old: HOT[old].change(NARROW))} points ahead of the published one (ten seeds, "
        f"p at most {largest:.2g} after Holm)"
    )
    yield (
        "against GRPO it is "
        f"{both(lambda old: change(at(old, NARROW, HIGHEST), at(old, GRPO, HIGHEST)))}"
    )


@tells(STUDY)
def mass_and_cap():
    runs = {old: race.runs for old, race in HOT.items()}
    for name, other in ((NARROW, NO_MASS), (CAP, WIDE)):
        assert all(holds_zero(runs[old](name), runs[old](other)) for old in OLD)
    yield (
        "α as published is "
        f"{both(lambda old: change(runs[old](NARROW), runs[old](NO_MASS)))} points from α 0"
    )
    yield (
        f"The cap is {both(lambda old: change(runs[old](CAP), runs[old](WIDE)))} points from none"
    )


@tells(STUDY)
def the_calibrated_gate():
    def against(old):
        found = curve(old, "maspo_calibrated")["against"]
        assert found["low"] < 1 < found["high"]
        return f"{found['value']:.1f} ({found['low']:.1f} to {found['high']:.1f})"

    yield f"It tolerates {both(against)} times what GRPO does"


@tells(STUDY)
def the_gate_that_looks_at_the_drift():
    gaps = {}
    for old in OLD:
        for name in (GRPO, *rivals(old)):
            if name != DRIFT:
                gaps[old, name] = compared(best(old, DRIFT), best(old, name)).difference
        assert holds_zero(at(old, DRIFT, HIGHEST), at(old, NARROW, HIGHEST))
    values = [100 * one.value for one in gaps.values()]
    yield (
        f"At its best rate it is {signed(min(values))} to {signed(max(values))} points from each of the others"
    )
    worse = [key for key, one in gaps.items() if one.high < 0]
    assert worse == [(4, NARROW)]
    yield f"{change(best(4, DRIFT), best(4, NARROW))} from σ_base 0.1 on data 4 rollouts old"
    yield (
        "At 2e-4 it is "
        f"{both(lambda old: change(at(old, DRIFT, HIGHEST), at(old, NARROW, HIGHEST)))} points from σ_base 0.1, "
        f"{both(lambda old: change(at(old, DRIFT, HIGHEST), at(old, WIDE, HIGHEST)))} from MASPO as published"
    )


@tells(STUDY)
def what_was_not_foreseen():
    lowest, low = RATES[:2]
    first, last = (
        {old: {n: float(points(at(old, n, rate))) for n in (GRPO, *rivals(old))} for old in OLD}
        for rate in (lowest, HIGHEST)
    )
    assert all(min(found, key=found.__getitem__) == "gspo" for found in first.values())
    assert all(max(found, key=found.__getitem__) == "gspo" for found in last.values())
    yield (
        f"last of all at 1.5e-5 ({both(lambda old: str(first[old]['gspo']))} %) and first at 2e-4 "
        f"({both(lambda old: str(last[old]['gspo']))} %)"
    )
    wide, base = at(16, WIDE, low), at(16, GRPO, low)
    assert all(wide[seed] > base[seed] for seed in base)
    yield (
        f"at 3e-5 MASPO is {change(wide, base)} points from GRPO, above it in all five seeds, `maspo_drift` "
        f"{change(at(16, DRIFT, low), base)}, σ_base 0.1 {change(at(16, NARROW, low), base)}"
    )
    yield (
        f"Yet the gates leave {left('stale', WIDE)} % (MASPO), {left('stale', DRIFT)} % (`maspo_drift`), {left('stale', GRPO)} % (GRPO) and "
        f"{left('stale', NARROW)} % (σ_base 0.1) of the weight there"
    )


@tells(STUDY)
def how_many_runs():
    seeds = next(iter(STALE.values())).group["sweep"][0]["scores"]
    runs = sum(
        len(one["scores"]) * len(RATES) for race in STALE.values() for one in race.group["sweep"]
    )
    yield f"seeds {min(seeds)} to {max(seeds)} are whole, {runs} runs"


@tells(CHOOSE)
def what_to_choose_where_data_are_stale():
    yield (
        f"at 2e-4 it ended {both(lambda old: change(at(old, DRIFT, HIGHEST), at(old, WIDE, HIGHEST)))} points above MASPO as published"
    )


@tells(STUDY)
def equal_steps():
    assert kind_of(sentence_of(NORM.lines[WIDE])) == "worse"
    names = {WIDE: "MASPO as published", NARROW: "σ_base 0.1", DRIFT: "`maspo_drift`"}
    told = ", ".join(
        f"{words} {NORM.change(name)}, with its own steps {change(at(16, name, HIGHEST), at(16, GRPO, HIGHEST))}"
        for name, words in names.items()
    )
    yield f"At 2e-4 on data 16 rollouts old, five seeds, the coefficients of every update scaled to the norm of GRPO's, in points from GRPO: {told}"


@tells(STUDY)
def a_language_model():
    said = (DOCS / "studies/stale/smollm2.txt").read_text("utf-8")
    runs = re.findall(r"^(\S+), .*?(old)?, rate (\S+), seed 31: avg@4 (\S+)%$", said, re.MULTILINE)
    fresh = [float(score) for _, old, _, score in runs if not old]
    stale = {(name, rate): score for name, old, rate, score in runs if old}
    assert (len(runs), len(fresh)) == (16, 12) and {name for name, _ in stale} == {GRPO, WIDE}
    yield f"On fresh data all end between {min(fresh)} and {max(fresh)} % at both rates"
    told = (
        " and ".join(stale[name, rate] for rate in ("0.0001", "0.0003")) for name in (GRPO, WIDE)
    )
    yield "on data 4 rollouts old GRPO ends at {} %, MASPO at {} %".format(*told)
