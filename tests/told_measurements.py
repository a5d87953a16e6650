"""What the pages tell of measurements, from the rows in `docs/*.jsonl`: benchmarks, training runs, what was tried by hand."""

import re

from figures import tells
from generate import benchmarks, runs
from pages import DOCS
from told_code import parameters_in_millions
from tried import tried

# What it costs


def newest(benchmark, **fields):
    """Return the newest row that has these fields."""
    return [row for row in benchmarks.rows(benchmark) if fields.items() <= row.items()][-1]


def ratio(row):
    return benchmarks.spread(row["ratio"], 1)


@tells("performance.md")
def the_table_against_stock():
    half_dead = newest("update", dead=0.5, lengths="lognormal", model="embedded")
    yield f"`python benchmarks/update.py` | {ratio(half_dead)} with GRPO |"
    gains = [row["ratio"]["median"] for row in benchmarks.updates_of_equal_lengths()]
    yield f"prompts shared | the table below | {min(gains):.1f} to {max(gains):.1f} |"
    yield f"`python benchmarks/rollout.py` | {ratio(newest('rollout', model='embedded'))} |"
    vllm = newest("rollout", engine="vllm")
    yield f"--prompts 4 --dtype bfloat16` | {ratio(newest('rollout', model=vllm['model'], engine='transformers'))} |"
    yield f"hand-over of the weights included ({vllm['hand_over_seconds']['median']:.1f} s of it)"
    yield f"--dtype bfloat16 --engine vllm` | {ratio(vllm)} |"
    yield f"`python benchmarks/quickstart.py` | {ratio(newest('quickstart', rollouts=10))} |"
    yield f"--rollouts 80 --repeats 1` | {ratio(newest('quickstart', rollouts=80))} |"


@tells("performance.md")
def the_share_of_the_objective():
    dead = newest("update", dead=0.5, lengths="lognormal", model="embedded")["objective_share"]
    rows = benchmarks.updates_of_equal_lengths()
    most = {}
    for row in rows:
        most[row["model"]] = max(most.get(row["model"], 0), row["objective_share"])
    assert list(most.values()) == sorted(most.values(), reverse=True)  # the models by size
    yield (
        f"take {100 * dead:.1f} % of an update of {parameters_in_millions()} million parameters where half of the groups are dead, and at most "
        f"{100 * max(most.values()):.1f} % in the table below, less the larger the model is."
    )


@tells("performance.md")
def the_peak_of_the_largest_model():
    found = tried("peak of 135M at 32/32")
    (tensors,) = {f"{mib:,.0f}" for mib in found["tensors_mib"].values()}
    yield f"where the tensors of both take the same {tensors} MiB;"
    yield f"(`MKL_DISABLE_FAST_MM=1`) it is {found['above_stock_without_buffers_mib']} MiB."


@tells("performance.md")
def the_cost_of_the_cache():
    shares = [
        newest("decode_profile", model=model)["shares"]["model/self_attn/cache"]
        for model in ("135M", "embedded")
    ]
    yield f"the cache that grows in place costs {100 * min(shares):.0f} to {100 * max(shares):.0f} %."


@tells("performance.md")
def rows_that_stock_runs():
    found = tried("completions of the rollout benchmark")
    yield (
        f"answers are {found['shortest']} to {found['longest']} tokens long with a mean of "
        f"{found['tokens'] / found['completions']:.0f}, so that stock runs {found['completions'] * found['longest']:,} rows through "
        f"the model where {found['tokens']:,} are needed, and {found['completions']} prompts where {found['prompts']} are"
    )


@tells("performance.md")
def growth():
    axis = {row["value"]: row for row in benchmarks.rows("growth") if row["axis"] == "completions"}
    few, many = axis[min(axis)], axis[max(axis)]
    assert many["ours"]["us_per_live_token"] < few["ours"]["us_per_live_token"]
    assert all(
        row["ours"]["peak_mib"] < row["stock"]["peak_mib"] for row in benchmarks.rows("growth")
    )
    times = [
        row["stock"]["us_per_live_token"] / row["ours"]["us_per_live_token"]
        for row in benchmarks.rows("growth")
    ]
    yield (
        f"stock takes {min(times):.1f} to {max(times):.1f} times as long for a token of a live row, and its peak memory is the higher at every "
        f"point. From {min(axis)} to {max(axis):,} completions our time per token falls."
    )


@tells("performance.md")
def pairs_of_the_verifier():
    first, second = tried("pairs of the verifier's benchmark")["distinct pairs"]
    row = newest("verify", rules="extended")
    yield f"{row['samples']} answers to each of {row['problems']} problems, {first:,} and {second:,} distinct pairs"


# Training runs


@tells("README.md")
def other_seeds_of_the_quickstart():
    first, *others = (row for row in runs.runs("quickstart") if row["versions"]["trl"] == "1.16.0")
    gained = [points(row["difference"]["avg@8"], "{:+.0f} [{:+.0f}, {:+.0f}]") for row in others]
    assert [row["seed"] for row in others] == [2, 3] and first["seed"] == 1
    yield f"seeds 2 and 3 gave {gained[0]} and {gained[1]}."


def points(three, form="{:+.0f} ({:+.0f} to {:+.0f})"):
    """Write a difference as a page does."""
    return form.format(*(100 * value for value in three)).replace("-", "−")


@tells("README.md")
def what_smollm2_learned():
    rows = runs.runs("smollm2-sums")
    one, two, three = (points(row["difference"]["avg@4"]) for row in rows)
    minutes = [round(row["total_seconds"] / 60) for row in rows]
    yield f"Seeds 1 to 3 gained {one}, {two} and {three} points of avg@4 on {rows[0]['problems']} held-out problems"
    yield f"commit {rows[0]['commit'][:7]}, {min(minutes)} to {max(minutes)} minutes"
    again = tried("smollm2-sums on free cores")
    yield f"seed 1 took {again['seconds'] / 60:.0f} minutes and gained {points(again['change'])}"


# What was tried by hand


@tells("doors/skyrl.md")
def the_server_of_skyrl():
    found = tried("custom loss on SkyRL's Tinker server")
    low, high = found["nats apart from the server's ppo"]
    yield f"log-probabilities end {low} to {high} nats apart"
    yield f"Without the division they agree to {exponent(found['nats apart without the division'])}."


@tells("learn/one-gpu-and-eight.md")
def weights_that_are_dealt_out():
    found = tried("weights dealt out to two processes")
    yield f"the metrics agree to {exponent(found['metrics agree to'])}, and the saved weights to {exponent(found['weights agree to'])}."


def exponent(value):
    return f"{value:g}".replace("e-0", "e-")


WORDS = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


@tells("reliability.md")
def kills():
    found = tried("kills")
    where = [
        found[place]
        for place in (
            "in a rollout",
            "in a checkpoint",
            "in the evaluation",
            "at a start",
            "at any time",
        )
    ]
    assert sum(where) == found["kills"] == 20
    five, three, four, start, any_time = (WORDS[count] for count in where)
    yield f"a quickstart of {found['optimizer steps']} optimizer steps ({found['rollouts']} rollouts over {found['epochs']} epochs"
    yield (
        f"{five.capitalize()} kills came in a rollout, {three} in the write of a checkpoint, {four} in the evaluation after, "
        f"{start} within two seconds of a start, {any_time} at any time. In the {WORDS[found['runs']]} runs that came of it"
    )
    yield f"bit for bit: {found['differ']} differ."


@tells("reliability.md")
def fuzzed_answers():
    one, more = tried("fuzzed answers"), tried("more fuzzed answers")
    for found, all_of_them in ((one, 10_000), (more, 40_000)):
        outcomes = [found[name] for name in ("wrong", "correct", "errors", "timeouts", "lost")]
        assert sum(outcomes) == all_of_them
        yield "{:,} wrong, {:,} correct, {:,} errors, {} timeouts, {} lost".format(*outcomes)
    yield (
        f"The longest batch of 100 took {one['longest batch, seconds']} s, with towers of powers in it; the pool held "
        f"{one['mib']['after the first tenth']} MiB after the first thousand, {one['mib']['at the end']} after the last."
    )
    yield (
        f"{more['mib']['after the first tenth']} MiB at the first tenth, {more['mib']['at the end']} at the last, at most "
        f"{more['mib']['at most']} between."
    )


@tells("reliability.md")
def fuzzed_inputs():
    found = tried("fuzzed inputs")
    yield f"{found['cases']:,} cases in {found['tests']} tests, {found['failing']} failing"


@tells("verifier.md")
def judgements_written_before():
    found = tried("judgements written before the rules were tried on them")
    refused, accepted = found["rules wrong"]["refused"], found["rules wrong"]["accepted"]
    alone = found["math-verify wrong"]
    yield (
        f"| {found['judgements']} | {sum(alone.values())}: {alone['refused']} refused, {alone['accepted']} accepted "
        f"| {refused + accepted}: {refused} refused, {accepted} accepted |"
    )
    yield f"Expect about {100 * (refused + accepted) / found['judgements']:.0f}% of answers in unusual notation to be misjudged."


@tells("verifier.md")
def judgements_of_public_reports():
    """The page of differences counts those that are not hostile."""
    page = (DOCS / "verifier-differences.md").read_text("utf-8")
    counts = re.search(r"^\| public reports \| (\d+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    others, accepted, refused = map(int, counts.groups())
    found = tried("judgements of public reports")
    assert found["judgements"] - found["hostile"] == others
    told = f"{found['judgements']}, of them {found['hostile']} hostile"
    yield f"| {told} | {accepted + refused} of the {others} others |"
    alone = tried("bare reference answers under math-verify")["refused"]
    yield f"math-verify alone refuses {alone} of the bare ones."


@tells("learn/evaluate.md")
def overlap_of_training_set_and_benchmarks():
    whole = tried("DAPO-Math-17k against the benchmarks")["whole"]
    yield (
        f"DAPO-Math-17k holds {whole['amc23']} problems of AMC23, {whole['math500']} of MATH-500 and {whole['olympiadbench']} of "
        "OlympiadBench whole."
    )
    found = tried("matches of DAPO-Math-17k read by hand")
    exact, alone = found["exact"], found["13-grams alone"]
    assert not exact["wrong"] and found["read"] == sum([*exact.values(), *alone.values()])
    yield (
        f"Of {found['read']} matches drawn at random and read by us all {exact['right']} exact ones were right; of the "
        f"{sum(alone.values())} that share 13-grams alone {alone['right']} were, and {alone['wrong']} ask something else"
    )
    planted = tried("planted problems of MATH-500")
    yield (
        f"Of {planted['planted']} problems of MATH-500 planted in {WORDS[planted['layouts']]} other layouts `--clean` keeps "
        f"{planted['kept']}, a short one behind a heading."
    )
