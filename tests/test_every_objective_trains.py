"""Every objective by name, for two rollouts in TRL's trainer, on the embedded model."""

import math

import pytest
import torch

import maspo
from maspo.data import arithmetic_problems
from maspo.engines.engine import TrainingJob
from maspo.engines.trl.training import train
from maspo.models import load_model
from maspo.recipes import load_recipe
from maspo.rewards import RewardSet
from maspo.rewards.function_reward import FunctionReward, FunctionSpec

SMALL = [
    "training.rollouts=2", "training.updates_per_rollout=2", "training.micro_batch=8",
    "rollout.prompts=4", "rollout.samples=4", "rollout.max_completion_tokens=24",
    "training.learning_rate=1e-3",
]  # fmt: skip


@pytest.fixture(scope="module")
def embedded():
    """Load the model once; every run starts from its weights."""
    model, tokenizer = load_model("embedded")
    return model, tokenizer, {k: v.clone() for k, v in model.state_dict().items()}


def half(completions, **_):
    """Reward the first half of each group, so that no group is dead whatever the model writes."""
    return [float(i % 4 < 2) for i in range(len(completions))]


@pytest.mark.parametrize("name", maspo.OBJECTIVES)
def test_it_trains(name, embedded, tmp_path):
    model, tokenizer, start = embedded
    model.load_state_dict(start)
    recipe = load_recipe("quickstart", [*SMALL, f"objective={{name: {name}}}"])
    lines = []
    problems = arithmetic_problems(8, seed=0, split="train")
    rewards = RewardSet([FunctionReward(half, "half")], [FunctionSpec(source="tests:half")])
    job = TrainingJob(
        recipe=recipe, model=model, tokenizer=tokenizer, problems=problems, rewards=rewards,
        folder=tmp_path, sink=lines.append,
    )  # fmt: skip
    done = train(job)
    assert done.steps == 4 and len(lines) == 4
    for line in lines:
        assert math.isfinite(line["loss"]) and 0 < line["grad_norm"] < math.inf
        assert "maspo/gate_mean" in line
    weights = done.model.state_dict()
    assert all(torch.isfinite(weight).all() for weight in weights.values())
    assert any(not torch.equal(weight, start[key]) for key, weight in weights.items())
