"""What the pages tell that follows from the code: defaults, sizes, tolerances of tests, and arithmetic."""

import ast
import contextlib
import functools
import inspect
import math
import re
from pathlib import Path

import yaml
from figures import tells
from generate import memory
from pages import BLOCKS, ROOT
from safetensors import safe_open
from test_page_memory import PARAMETERS

import maspo
from maspo.engines.tinker import server_loss
from maspo.errors import InputError
from maspo.evaluation import interval
from maspo.objectives import BUILT_IN
from maspo.recipes import load_recipe

# Defaults


def percent(share):
    return f"{100 * share:.0f}"


@tells("README.md")
def the_clip_of_grpo():
    yield f"GRPO drops a token's gradient as soon as its probability has moved by {percent(maspo.GRPO().epsilon_low)} percent."


@tells("index.md")
def the_clip_of_grpo_again():
    yield f"GRPO drops it after {percent(maspo.GRPO().epsilon_low)} percent."


def level():
    return percent(inspect.signature(interval).parameters["level"].default)


@tells("README.md")
def level_of_the_intervals():
    yield f"ends in a table with {level()} % intervals"


@tells("learn/evaluate.md")
def level_of_evaluations():
    yield f"with {level()} % intervals over problems"


@tells("learn/ten-minutes.md")
def the_quickstart():
    recipe = load_recipe("quickstart")
    rollout, training = recipe.rollout, recipe.training
    yield (
        f"{training.rollouts} rollouts. For each the model answers {rollout.prompts} problems {rollout.samples} times. Each answer "
        f"earns 1 or 0. Then come {training.updates_per_rollout} optimizer steps."
    )
    yield f"after less before, with a {level()} % interval over the problems"
    yield "**Ratio, upper tail** is the ratio that 1 % of the tokens exceed."
    yield "The ratio that 1 % of the tokens exceed, over the same steps"


@tells("fix/entropy.md")
def the_collapse_that_is_warned_of():
    bound = stated("maspo/engines/trl/callbacks.py", r"\(reward or 0\.0\) < ([\d.]+)")
    yield f"Low entropy, dead groups and a reward below {bound} is collapse."


@tells("fix/reward-zero.md")
def advice_by_the_mean_reward():
    bound = stated("maspo/engines/trl/callbacks.py", r'"easier" if reward < ([\d.]+)')
    yield f"with a mean reward below {bound} it advises easier problems or more samples."


@tells("doors/tinker.md")
def objectives_through_the_door_of_tinker():
    yield f"All {len(BUILT_IN)} objectives beside the client; {on_the_server()} on the server"


@tells("doors/README.md")
def objectives_on_the_server_of_tinker():
    yield f"| all; on the server {on_the_server()} |"


@functools.cache
def on_the_server():
    """Count the objectives that can be recorded for Tinker's server."""
    count = 0
    for name in BUILT_IN:
        with contextlib.suppress(InputError):
            server_loss(name)
            count += 1
    return count


# Sizes


EMBEDDED = Path(maspo.__file__).parent / "models" / "embedded"


def parameters_in_millions():
    with safe_open(EMBEDDED / "model.safetensors", "torch") as weights:
        shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
    return f"{sum(map(math.prod, shapes)) / 1e6:.2f}"


@tells("README.md", "choose/index.md", "studies/README.md")
def models_of_the_studies():
    yield f"models of {parameters_in_millions()}M parameters"


@tells("learn/ten-minutes.md")
def the_model_of_the_quickstart():
    yield f"A model of {parameters_in_millions()}M parameters, which is part of the package"


@tells("studies/README.md")
def the_start_of_the_first_task():
    yield f"the embedded model of {parameters_in_millions()}M parameters, "


@tells("learn/training.md")
def size_of_the_embedded_model():
    size = sum(file.stat().st_size for file in EMBEDDED.iterdir())
    yield f"The embedded model is {size / 1e6:.1f} MB"


@tells("fix/memory.md")
def four_times_the_weights():
    yield f"16 bytes a parameter. 7B parameters are {7e9 * 16 / 1e9:.0f} GB before a single activation."


@tells("learn/one-gpu-and-eight.md")
def memory_of_one_gpu():
    longest = yaml.safe_load(memory.RECIPE)["rollout"]["max_completion_tokens"]
    yield f"prompts of {memory.PROMPT} and completions of {longest:,} tokens"
    yield f"({2 * PARAMETERS['7B'] / 1e9:.0f} GB of a 7B model in bfloat16)"
    yield f"{16 * PARAMETERS['7B'] / 1e9:.0f} GB before an activation. No single GPU of 80 GB holds it."
    rows = (line.split(" | ") for line in memory.table_of_sizes().splitlines())
    one_gpu = {(size.strip("| "), how): rest[-2] for size, how, *rest in rows}
    for size, how in (("7B", "LoRA, weights in bfloat16"), ("1.5B", "all weights")):
        assert float(one_gpu[size, how].removesuffix(" GB")) < 40
        yield f"{size}, {how}**: fits one GPU of 40 GB"


# Tolerances, which are those of tests


def stated(file, pattern):
    """Return what a file of the repository states; the pattern has to be in it once."""
    (found,) = re.findall(pattern, (ROOT / file).read_text("utf-8"))
    return found


def in_test(file, name, pattern):
    """Return what a test states, as often as it may; all have to agree."""
    text = (ROOT / "tests" / file).read_text("utf-8")
    (body,) = (
        ast.get_source_segment(text, node)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and node.name == name
    )
    (found,) = set(re.findall(pattern, body))
    return found


@tells("doors/README.md")
def tolerance_of_the_doors():
    yield f"compares every door with `policy_loss` to {of_the_doors()} in float64"


def of_the_doors():
    return stated("tests/test_doors.py", r'EXACT = \{"rtol": 0, "atol": (\S+)\}')


@tells("doors/tinker.md")
def tolerance_of_tinker():
    recorded = stated("maspo/engines/tinker/server.py", r"assert_close\(.*rtol=(\S+), atol=\1\)")
    yield f"compared with it on other numbers to {recorded} before it is handed over"
    yield f"Gradients equal `policy_loss` to {of_the_doors()} in float64"


@tells("internals/measure.md")
def tolerances():
    oracle = in_test(
        "test_objectives.py", "test_value_and_slope_equal_the_oracle", r"(?:rel|rtol)=(\S+?)[,)]"
    )
    authors = in_test("test_golden.py", "compare", r"(?:rel|rtol)=(\S+?),")
    yield f"Values and slopes equal them to {oracle} in float64."
    yield f"Gradients equal the authors' own functions and verl's and TRL's losses to {authors}"


@tells("internals/measure.md", "learn/from-trl.md")
def tolerances_against_trl():
    loss = in_test("test_trl_contract.py", "assert_same", r"(?:rel|rtol)=(1e-12)")
    run = in_test(
        "test_trl_contract.py", "test_a_whole_run_of_grpo_equals_stock", r"rtol=0, atol=(\S+?)\)"
    )
    yield f"loss by loss to {loss} and over a whole run to {run} in every weight, both in float64."


@tells("learn/from-trl.md")
def tolerances_of_the_work_left_out():
    name = "test_an_update_has_the_gradient_of_stock_trl"
    fine, coarse = in_test(
        "test_trl_fast.py", name, r"tolerance = (\S+) if dtype == torch.float64 else (\S+)"
    )
    yield f"Updates on the same rows equal stock TRL's to {coarse} in float32 and {fine} in float64"


@tells("verifier.md")
def reference_answers():
    answers, ways = map(int, stated("tests/test_gold_rules.py", r"len\(cases\) == (\d+) \* (\d+)"))
    yield f"Of the {answers:,} of the seven benchmarks"
    yield f"in dollars, in a sentence and bare, all {answers * ways:,} times"


# Arithmetic


@tells("learn/evaluate.md")
def wilsons_interval_of_half_of_forty():
    z, n = 1.959964, 40
    half = z * (0.25 / n + z * z / (4 * n * n)) ** 0.5 / (1 + z * z / n)
    yield f"20 right of 40 is {percent(0.5 - half)} to {percent(0.5 + half)} %."


@tells("fix/dead-groups.md")
def dead_groups():
    few, half = (p**8 + (1 - p) ** 8 for p in (0.1, 0.5))
    yield f"with 8 samples {percent(few)} % at p = 0.1, {100 * half:.1f} % at p = 0.5."


@tells("statistics.md")
def how_well_a_share_is_known():
    yield f"With 2,000 sets a share of 0.95 is known to {(0.95 * 0.05 / 2000) ** 0.5:.3f}."


@tells("statistics.md")
def sets_of_problems():
    sets, resamples = (
        int(stated("scripts/coverage.py", rf'"--{name}", type=int, default=(\d+)'))
        for name in ("sets", "resamples")
    )
    yield f"({sets:,} sets a setting, {resamples:,} resamples)"
    yield f"whose {level()}% interval holds the true mean"


@tells("studies/stale/README.md")
def objectives_of_the_second_study():
    """The text's widths are those of the command on the same page."""
    commands = "".join(one.text for one in BLOCKS if one.page == "studies/stale/README.md")
    (sigma,) = set(re.findall(r"maspo:sigma_base=([\d.]+)", commands))
    yield f"MASPO with σ_base {sigma} bears at least twice the rate"
    yield f"at σ_base {sigma} and the highest rate"
    yield f"worse than MASPO with σ_base {sigma}. Trials"
