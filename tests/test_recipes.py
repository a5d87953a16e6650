"""Recipes: every shipped one is valid, and whatever is wrong is said in one sentence."""

import json

import pytest
import yaml

import maspo
from maspo.lab.race.planning import make_plan
from maspo.recipes import dump_recipe, load_recipe, parse_recipe, plan, shipped_recipes


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_are_valid_and_never_inert(name):
    recipe = load_recipe(name)
    assert recipe.name == name and recipe.about
    assert recipe.training.updates_per_rollout >= 4
    assert not [line for line in plan(recipe) if line.startswith("warning")]


def test_the_papers_values_are_in_the_paper_recipes():
    paper = load_recipe("dapo-math-r1-qwen-7b")
    assert (paper.rollout.prompts, paper.training.updates_per_rollout) == (512, 16)
    script = load_recipe("gsm8k-r1-qwen-1.5b")
    assert (script.rollout.prompts, script.rollout.samples) == (1024, 5)
    assert script.completions_per_update == 256 * 5
    assert script.data.max_prompt_tokens == 512 and script.rollout.max_completion_tokens == 1024
    assert script.training.learning_rate == 4.63e-7 and script.training.kl == 0
    assert script.make_objective() == maspo.MASPO(alpha=0.5)


def test_a_dumped_recipe_is_the_same_recipe():
    recipe = load_recipe("quickstart", ["objective.alpha=0.5", "model.lora={rank: 4}"])
    assert recipe.model.lora and recipe.model.lora.rank == 4
    assert parse_recipe(yaml.safe_load(dump_recipe(recipe))) == recipe


def test_settings_change_keys_and_read_numbers():
    recipe = load_recipe("quickstart", ["training.learning_rate=1e-6", "data.limit=64"])
    assert recipe.training.learning_rate == 1e-6 and recipe.data.limit == 64


def test_plan_counts_in_plain_words():
    text = "\n".join(plan(load_recipe("quickstart", ["training.rollouts=10"]), processes=1))
    recipe = load_recipe("quickstart")
    prompts, samples = recipe.rollout.prompts, recipe.rollout.samples
    assert f"{prompts} prompts x {samples} samples = {prompts * samples} completions" in text
    assert f"10 rollouts = {10 * recipe.training.updates_per_rollout} optimizer steps" in text


def test_plan_warns_of_what_cannot_work():
    text = plan(
        load_recipe("quickstart", ["training.updates_per_rollout=1", "objective.alpha=0.9"])
    )
    assert any("no gate acts" in line for line in text)
    assert any("instability from 0.8 on" in line for line in text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["trainin.rollouts=1"], "unknown recipe key 'trainin'; did you mean 'training'?"),
        (["training.rolouts=1"], "did you mean 'training.rollouts'?"),
        (["model.lora={rnk: 3}"], "did you mean 'model.lora.rank'?"),
        (["rollout.samples=1"], "rollout.samples: Input should be greater than or equal to 2"),
        (
            ["rollout.prompts=7"],
            "completions make updates of 14, which micro_batch 8 does not divide",
        ),
        (["training.updates_per_rollout=3"], "cannot be divided into 3 updates per rollout"),
        (["objective.name=mapso"], "unknown objective 'mapso'; did you mean 'maspo'?"),
        (["objective.alhpa=1"], "unknown hyperparameter of maspo 'alhpa'; did you mean 'alpha'?"),
        (["objective.sigma_base=-1"], "sigma_base .* must be > 0, not -1"),
        (["objective.alpha=7"], "alpha .* must be 0 to 1, not 7"),
        (["training.learning_rate=fast"], "training.learning_rate: .* not 'fast'"),
        (
            ["evaluation.data.max_prompt_tokens=9"],
            "there is 'data.max_prompt_tokens'; evaluation.data has",
        ),
        (
            ["training.temperature=1"],
            "there is 'rollout.temperature' and 'evaluation.temperature'; training",
        ),
        (["learning_rate=1"], "there is 'training.learning_rate'; known: about, data, evaluation"),
        (["evaluation.tmperature=1"], "did you mean 'evaluation.temperature'?"),
        (["reward.source=x"], "unknown recipe key 'reward.source'; here it is 'reward.functions'"),
        (["evaluation.eval_steps=5"], "here it is 'evaluation.every'"),
        (["training.lr=5"], "here it is 'training.learning_rate'"),
        (["num_generations=5"], "here it is 'rollout.samples'"),
        (["evaluation.evry=5"], "did you mean 'evaluation.every'?"),
        (["nonsense"], "--set takes key=value"),
        (["seed.x=1"], "seed is no section"),
    ],
)
def test_bad_settings_get_one_sentence(settings, message):
    with pytest.raises(maspo.InputError, match=message) as caught:
        load_recipe("quickstart", ["training.micro_batch=8", "training.updates_per_rollout=4",
                                   "rollout.prompts=16", "rollout.samples=8", *settings])  # fmt: skip
    assert "\n" not in str(caught.value)


OWN = {"data": {"source": "mine.jsonl"}}


@pytest.mark.parametrize("evaluation", [{}, {"evaluation": {}}, {"evaluation": {"samples": 2}},
                                        {"evaluation": {"data": {"limit": 9}}}])  # fmt: skip
def test_own_data_are_never_judged_by_the_built_in_sums(evaluation):
    recipe = parse_recipe(OWN | evaluation)
    assert "evaluation 128 problems of arithmetic, test x" in "\n".join(plan(recipe)) or evaluation
    for refused in (
        recipe.check_evaluation,
        recipe.problems,
        lambda: make_plan(recipe, "grpo,sapo", seeds=2),
    ):
        with pytest.raises(
            maspo.InputError, match=r"evaluation\.data\.source, or evaluation: null"
        ):
            refused()


def test_what_is_evaluated_is_named():
    recipe = parse_recipe(OWN | {"evaluation": {"data": {"source": "held.jsonl", "limit": 5}}})
    assert "evaluation 5 problems of held.jsonl x 8 samples, before and after" in plan(recipe)
    asked = parse_recipe(OWN | {"evaluation": {"data": {"source": "arithmetic", "limit": 5}}})
    assert "evaluation 5 problems of arithmetic x 8 samples, before and after" in plan(asked)
    assert "evaluation 160 problems of arithmetic, test x 8" in "\n".join(
        plan(load_recipe("quickstart"))
    )


def test_an_objective_may_be_its_name_alone():
    assert load_recipe("quickstart", ["objective=grpo"]).make_objective() == maspo.GRPO()


def test_bad_files_get_one_sentence(tmp_path):
    for name, text, message in (
        ("list.yaml", "- 1", "must hold keys and values"),
        ("broken.yaml", "a: [", "is not YAML"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(maspo.InputError, match=message):
            load_recipe(str(tmp_path / name))
    with pytest.raises(maspo.InputError, match="no recipe file"):
        load_recipe(str(tmp_path / "absent.yaml"))
    with pytest.raises(maspo.InputError, match="did you mean 'quickstart'"):
        load_recipe("quickstrat")


def test_a_recipe_that_was_written_and_read_has_the_same_numbers_to_the_letter():
    """A run is compared with what it began with as text: 32 and 32.0 would be two runs."""
    recipe = load_recipe(
        "quickstart", ["model.lora={}", "rollout.staleness=1", "rollout.correction={}"]
    )
    again = parse_recipe(yaml.safe_load(dump_recipe(recipe)))
    assert json.dumps(again.model_dump()) == json.dumps(recipe.model_dump())
