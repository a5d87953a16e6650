"""Sampling is one thing: where no weight moves, what is drawn after training is what was drawn before."""

import json

import pytest
from architectures import ARCHITECTURES, save
from rich.console import Console

from maspo.data.arithmetic import arithmetic_problems
from maspo.engines.engine import TrainingJob
from maspo.engines.trl.engine import ENGINE
from maspo.engines.trl.training import train
from maspo.lab.console import Screen
from maspo.lab.run.folder import RunFolder
from maspo.lab.run.run import run_recipe
from maspo.models import EMBEDDED, load_model, save_model
from maspo.recipes.schema import Recipe
from maspo.sampling import Settings, draw
from maspo.sampling.with_transformers import TransformersSampler

ODD = (
    {"eos_token_id": 7},
    {"min_p": 0.9},
    {"num_beams": 3, "length_penalty": 2.0},
    {"suppress_tokens": list(range(20, 260))},
    {"do_sample": False, "temperature": 0.3, "top_p": 0.5},
    {"eos_token_id": [0, 9, 30], "forced_eos_token_id": 9, "repetition_penalty": 3.0},
)
"""What files of checkpoints hold besides; the embedded tokenizer's own end token is 2."""

PROBLEMS = arithmetic_problems(3, seed=11, split="test")
SETTINGS = Settings(samples=16, max_new_tokens=8, batch_size=48, seed=5)


def recipe(source, folder, **changes):
    """Return a run that changes no weight: to a float32 weight a step of 1e-60 is none."""
    code = "def odd_length(completions, **_):\n    return [len(c[0]['content']) % 2.0 for c in completions]\n"
    (folder / "odd.py").write_text(code, "utf-8")
    return Recipe.model_validate(
        {
            "model": {"source": source},
            "data": {"limit": 8},
            "rollout": {"prompts": 2, "samples": 4, "max_completion_tokens": 8},
            "training": {
                "rollouts": 1, "updates_per_rollout": 2, "micro_batch": 4, "learning_rate": 1e-60,
                "precision": "float32", "save_every": None, "save_tokens": 0,
            },
            "reward": {"functions": [{"source": f"{folder / 'odd.py'}:odd_length"}]},
            "evaluation": {"data": {"split": "test", "limit": 8}, "samples": 8},
        } | changes
    )  # fmt: skip


@pytest.mark.parametrize("place", range(len(ARCHITECTURES)), ids=list(ARCHITECTURES))
def test_where_no_weight_moves_the_samples_stay(place, tmp_path):
    name, odd = list(ARCHITECTURES)[place], ODD[place % len(ODD)]
    source = save(name, tmp_path / "model", odd)
    model, tokenizer = load_model(source)
    before = draw(TransformersSampler(model, tokenizer), PROBLEMS, SETTINGS)
    assert len({one.text for one in before}) > 24, "they are sampled at temperature 1"
    asked, lines = recipe(source, tmp_path), []
    with asked.reward.start() as rewards:
        job = TrainingJob(
            recipe=asked, model=model, tokenizer=tokenizer, problems=PROBLEMS, rewards=rewards,
            folder=tmp_path / "checkpoints", sink=lines.append,
        )  # fmt: skip
        done = train(job)
    assert [line["step"] for line in lines] == [1, 2] and done.steps == 2
    assert max(line["grad_norm"] for line in lines) > 0, "there was something to learn"
    assert draw(TransformersSampler(done.model, tokenizer), PROBLEMS, SETTINGS) == before
    save_model(done.model, tokenizer, tmp_path / "saved")
    again, its_tokenizer = load_model(str(tmp_path / "saved"))
    assert draw(TransformersSampler(again, its_tokenizer), PROBLEMS, SETTINGS) == before
    files = [tmp_path / folder / "generation_config.json" for folder in ("model", "saved")]
    assert files[0].read_bytes() == files[1].read_bytes(), "it is saved as it was"


@pytest.mark.parametrize("odd", [odd for odd in ODD if "eos_token_id" not in odd])
def test_what_a_checkpoint_says_of_sampling_acts_nowhere(odd, tmp_path):
    drawn = []
    for folder, generation in (("odd", odd), ("plain", None)):
        model, tokenizer = load_model(save("qwen2", tmp_path / folder, generation))
        drawn.append(draw(TransformersSampler(model, tokenizer), PROBLEMS, SETTINGS))
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("named", [7, [7], [2, 7], [7, 9], None])
def test_the_end_tokens_are_those_of_both_sides(named, tmp_path):
    source = save("qwen2", tmp_path / "model", {"eos_token_id": named})
    model, _ = load_model(source)
    expected = {2} | ({named} if isinstance(named, int) else set(named or ()))
    assert set(model.generation_config.eos_token_id) == expected


def test_a_whole_run_with_two_kinds_of_end_tokens_gains_nothing_by_itself(tmp_path):
    """The embedded model ends with token 2; its generation config is made to name another."""
    model, tokenizer = load_model(str(EMBEDDED))
    source = tmp_path / "model"
    save_model(model, tokenizer, source)
    file = source / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | {"eos_token_id": 0}), "utf-8")
    run = tmp_path / "run"
    rollout = {"prompts": 2, "samples": 4, "max_completion_tokens": 32}
    asked = recipe(str(source), tmp_path, rollout=rollout)
    run_recipe(asked, RunFolder(run), Screen(Console(quiet=True)), ENGINE)
    summary = json.loads((run / "summary.json").read_text("utf-8"))
    assert summary["before"] == summary["after"] and summary["steps"] == 2
    assert summary["before"]["truncated"] < 1
    assert (run / "model" / file.name).read_bytes() == file.read_bytes()
