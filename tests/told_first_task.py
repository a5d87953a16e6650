"""What the pages tell of the first study's first task, from the `results.json` of its races."""

from figures import tells
from study_results import ABLATION, FIRST, HOT, SAME_RATE, gaps, left, span
from tried import tried

from maspo import GRPO, MASPO, MASPOCalibrated

STUDY = "studies/README.md"


@tells(STUDY)
def the_summary():
    change = FIRST[16].change("maspo").strip(")").split(" (")
    assert min(p for p in FIRST[16].adjusted().values() if p is not None) > 0.05
    assert len(FIRST[16].lines) - 1 == 7
    yield f"MASPO comes out {change[0].strip('+')} points ahead (95 % interval {change[1]})"
    yield f"on the second it is {SAME_RATE.size('maspo')} points behind at the same rate ({SAME_RATE.interval('maspo')})."


@tells(STUDY)
def the_table_of_the_first_task():
    for name, line in FIRST[1].lines.items():
        cells = [FIRST[1].score(name)]
        for race in (FIRST[4], FIRST[16]):
            cells += [race.score(name), race.change(name)]
        assert line["score"]
        yield f"| `{name}` | {' | '.join(cells)} |"


@tells(STUDY)
def the_set_up_of_the_first_task():
    tried_rates = [float(rate) for rate in FIRST[16].lines["grpo"]["tried"]]
    written = [f"{rate:.0e}".replace("e-0", "e-") for rate in (min(tried_rates), max(tried_rates))]
    yield f"{FIRST[1].before} % right (avg@8) at the start"
    yield f"best of four, {written[0]} to {written[1]}, on one seed (1001)"
    runs = [
        run
        for race in FIRST.values()
        for one in race.lines.values()
        for run in one["runs"].values()
    ]
    tuning = sum(len(one["tried"]) for race in FIRST.values() for one in race.lines.values())
    yield f"{len(runs) + tuning} runs, two at a time."
    yield "paired by seed, with its 95 % bootstrap interval:"


@tells(STUDY)
def what_came_out_of_the_first_task():
    grpo = FIRST[1].runs("grpo")
    moved = {name: gaps(FIRST[1].runs(name), grpo) for name in ("sapo", "cispo", "bapo")}
    assert all(sum(gap != 0 for gap in found) == 1 for found in moved.values())
    most = max(abs(gap) for found in moved.values() for gap in found)
    yield f"leaves the score as it is in four seeds and moves it by up to {most:.1f} points in the fifth."
    assert all(FIRST[1].runs(name) == grpo for name in ("clip_higher", "dac", "maspo"))
    ends = {
        (name, updates): 100 * one["score"]["value"]
        for updates, race in FIRST.items()
        for name, one in race.lines.items()
    }
    assert ends.pop(("clip_higher", 16)) < 67
    yield f"all end between {min(ends.values()):.0f} and {max(ends.values()):.0f} %, Clip-Higher at 16 aside."
    ways = ", ".join(f"{race.group['threshold']:.3f}" for race in FIRST.values())
    took = [race.reached("grpo") for race in FIRST.values()]
    yield (
        f"a reward of {' and '.join(ways.rsplit(', ', 1))}, took it {took[0]}, {took[1]} and {took[2]} completions; "
        f"with 16 updates MASPO got there in {FIRST[16].reached('maspo')}."
    )


def at_high_rates():
    """Return the scores of the tuning seed with 16 updates, at three times and ten times the rate of most."""
    rates = [one["learning_rate"] for one in FIRST[16].lines.values()]
    most = max(set(rates), key=rates.count)
    scores = {}
    for factor, rate in ((3, 6e-5), (10, 2e-4)):
        assert abs(rate / most - factor) < 1e-9
        scores[factor] = span([float(FIRST[16].tuned(name, rate)) for name in FIRST[16].lines])
    return scores


@tells(STUDY)
def rates_of_the_first_task():
    best = [
        100 * max(one["tried"].values()) for race in FIRST.values() for one in race.lines.values()
    ]
    high, race = at_high_rates(), FIRST[16]
    yield f"On the tuning seed every objective reaches {span(best)} % at its best rate."
    yield f"With 16 updates a rate three times that of most leaves {high[3]} %, and ten times that rate {high[10]} %."
    assert race.tuned("sapo", 2e-4) == "0.0"
    yield f"at 2e-4 GRPO, with its clip, kept {float(race.tuned('grpo', 2e-4)):.0f} %, MASPO {race.tuned('maspo', 2e-4)} %, SAPO nothing."
    yield (
        f"Clip-Higher drew {race.rate('clip_higher')} with 16 updates, {race.tuned('clip_higher', 6e-5)} against "
        f"{race.tuned('clip_higher', 2e-5)} % on the tuning seed, and paid for it with {race.size('clip_higher')} points in the race."
    )


@tells("fix/avg-falls.md")
def rates_that_are_too_high():
    high, race = at_high_rates(), FIRST[16]
    yield f"with 16 updates, a rate three times the tuned one left {high[3]} %, ten times that rate {high[10]} %."
    yield f"GRPO kept {float(race.tuned('grpo', 2e-4)):.0f} %, MASPO {race.tuned('maspo', 2e-4)} %."


@tells(STUDY)
def why_there_is_so_little_to_see():
    found = tried("gates of addition")
    yield (
        f"with 16 updates 99 % of the ratios lie below {found['ratio_p99']}. GRPO's clip of {100 * GRPO().epsilon_low:.0f} % stops "
        f"{found['grpo tokens stopped']} % of the tokens. MASPO's gate at the published σ_base = {MASPO().sigma_base:g} leaves "
        f"{left('addition', 'maspo')} % of the weight, SAPO's {left('addition', 'sapo')} %, CISPO's all of it."
    )
    apart = found["gradient mass apart from grpo's, at most"]
    yield f"The gradient mass of every objective is within {apart} % of GRPO's at every moment"
    yield f"narrows the gate until it takes a share of the gradient (1 − κ, {100 * (1 - MASPOCalibrated().keep):.0f} % of what it acts on)"


@tells("fix/loss-zero.md")
def weight_left_by_the_gate():
    yield f"MASPO's gate still leaves {left('addition', 'maspo')} % of the weight"


@tells(STUDY)
def the_ablation():
    for name in ABLATION.lines:
        change = ABLATION.change(name).replace("baseline", "")
        yield f"| `{name}` | {ABLATION.score(name)} | {change} | {left('ablation', name)} % |"
    others = [name for name in ABLATION.lines if name not in ("maspo", "maspo_calibrated")]
    for name in others:
        low, high = ABLATION.interval(name).split(" to ")
        assert (low[0], high[0]) == ("−", "+"), name
    least = min(float(left("ablation", name)) for name in others)
    yield f"With more than {int(least)} % of the weight left whatever the setting"
    taken = [100 - float(left("ablation", name)) for name in ("maspo_calibrated", "maspo")]
    assert 18 < taken[0] / taken[1] < 22
    yield (
        f"takes twenty times as much as MASPO and ends {ABLATION.size('maspo_calibrated')} points lower ("
        f"{ABLATION.interval('maspo_calibrated')}; t-test p = {ABLATION.adjusted()['maspo_calibrated']:.2f} after adjustment"
    )


@tells("choose/defaults.md")
def settings_of_the_ablation():
    named = [name.partition(":")[2] for name in ABLATION.lines]
    sigmas = [float(one.partition("=")[2]) for one in named if one.startswith("sigma_base=")]
    alphas = [one.partition("=")[2] for one in named if one.startswith("alpha=")]
    yield f"σ_base from {min(sigmas):g} to {max(sigmas):g}, α from 0 to {alphas[0]}"


@tells("fix/kl.md")
def what_a_cap_did():
    yield f"`maspo_capped` ended {ABLATION.size('maspo_capped')} points from MASPO ({ABLATION.interval('maspo_capped')})"


@tells(STUDY)
def above_the_tuned_rate():
    rate, tuned = HOT.rate("maspo"), FIRST[16].lines["maspo"]["learning_rate"]
    assert abs(HOT.lines["maspo"]["learning_rate"] / tuned - 3) < 1e-9
    yield f"The same at {rate}, three times the tuned rate, with 16 updates"
    for name in HOT.lines:
        yield f"| `{name}` | {HOT.score(name)} | {HOT.change(name).replace('baseline', '')} |"
    found = gaps(HOT.runs("maspo_calibrated"), HOT.runs("maspo"))
    assert min(found) > 0
    each = ", ".join(f"{gap:.1f}" for gap in found)
    yield f"is ahead of MASPO in every seed, by {sum(found) / len(found):.1f} points in the mean ({each})."
