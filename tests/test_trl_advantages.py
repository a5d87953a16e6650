"""Advantages in TRL: its own where it has them, ours in their place where it has not."""

import warnings

import oracle_axes
import pytest
import torch

import maspo
from maspo.recipes import load_recipe, plan

trl = pytest.importorskip("trl")

from test_trl_contract import even_tokens, make  # noqa: E402

from maspo.engines.trl import MASPOConfig, MASPOTrainer  # noqa: E402
from maspo.engines.trl.translate import trl_config  # noqa: E402

ORACLES = {
    "group": lambda groups, lengths: oracle_axes.group(groups, epsilon=1e-4),
    "center": lambda groups, lengths: oracle_axes.center(groups),
    "batch": lambda groups, lengths: oracle_axes.batch(groups, epsilon=1e-4),
    "loo": lambda groups, lengths: oracle_axes.loo(groups),
    "gpg": lambda groups, lengths: oracle_axes.gpg(groups),
    "whiten": oracle_axes.whiten,
}


def abstains(completion_ids, **_):
    """Score completions of an even length and say nothing of the others."""
    return [None if len(ids) % 2 else len(ids) / 8 for ids in completion_ids]


def rollout(folder, training=True, **settings):
    """Sample one generation batch, or a group in evaluation: trainer, batch, tokens, lengths by group."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Stock's random numbers, with which the groups are as mixed as the tests need them.
        trainer = make(MASPOTrainer, MASPOConfig, folder, group_decoding=False, **settings)
    trainer.generation_config.max_new_tokens = 40  # so that some completions end earlier
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.train(training)
    out = trainer._generate_and_score_completions(batch if training else batch[:4])
    lengths = out["completion_mask"].sum(1)
    ids = [row[:n].tolist() for row, n in zip(out["completion_ids"], lengths, strict=True)]
    return trainer, out, ids, lengths.view(-1, 4).tolist()


@pytest.mark.parametrize("name", ORACLES)
def test_every_estimator_that_trl_can_do_is_the_oracles(tmp_path, name):
    trainer, out, ids, lengths = rollout(tmp_path, advantages=name)
    rewards = torch.tensor(even_tokens(ids), dtype=torch.float64).view(-1, 4)
    assert len(rewards) == 4 and maspo.live_groups(rewards).any()
    expected = torch.tensor(ORACLES[name](rewards.tolist(), lengths)).flatten()
    torch.testing.assert_close(out["advantages"], expected, rtol=1e-5, atol=1e-6)
    assert len({n for row in lengths for n in row}) > 1
    assert list(trainer._logs["advantages"]) == out["advantages"].tolist()


def test_an_evaluation_has_its_own_group_size_and_log_lines(tmp_path):
    settings = {"num_generations_eval": 2, "per_device_eval_batch_size": 4}
    trainer, out, ids, _ = rollout(tmp_path, training=False, advantages="loo", **settings)
    rewards = torch.tensor(even_tokens(ids), dtype=torch.float64).view(-1, 2)
    assert maspo.live_groups(rewards).any()
    expected = torch.tensor(oracle_axes.loo(rewards.tolist())).flatten()
    torch.testing.assert_close(out["advantages"], expected, rtol=1e-5, atol=1e-6)
    assert list(trainer._logs["advantages"]) == out["advantages"].tolist()


def test_rewards_are_weighted_and_those_that_are_missing_add_nothing(tmp_path, monkeypatch):
    def two_rewards(self, *args, **kwargs):
        start(self, *args, **kwargs)
        self.reward_funcs, self.reward_func_names = [even_tokens, abstains], ["even", "abstains"]
        self.reward_processing_classes, self.reward_weights = [None] * 2, torch.tensor([1.0, 3.0])

    start = MASPOTrainer.__init__
    monkeypatch.setattr(MASPOTrainer, "__init__", two_rewards)
    _, out, ids, _ = rollout(tmp_path, advantages="loo")
    second = abstains(ids)
    groups = [second[i : i + 4] for i in range(0, 16, 4)]
    assert any(None in group and len(set(group)) > 2 for group in groups)
    rewards = [a + 3 * (b or 0.0) for a, b in zip(even_tokens(ids), second, strict=True)]
    expected = oracle_axes.loo(torch.tensor(rewards, dtype=torch.float64).view(-1, 4).tolist())
    found = out["advantages"].double().view(-1, 4)
    torch.testing.assert_close(found, torch.tensor(expected).double(), rtol=1e-5, atol=1e-6)


def test_a_run_with_our_advantages_trains(tmp_path):
    trainer = make(
        MASPOTrainer, MASPOConfig, tmp_path, advantages="whiten", max_steps=5,
        objective=maspo.make_objective("reinforce_pp"),
    )  # fmt: skip
    before = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.train()
    after = trainer.model.parameters()
    assert any(not torch.equal(p, q) for p, q in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"advantages": "sas"},
            "earlier rewards of each prompt, .* one of batch, center, gpg, group",
        ),
        ({"advantages": "rloo"}, "unknown advantage estimator 'rloo'; did you mean 'loo'"),
        ({"advantages": "loo", "scale_rewards": "none"}, "decide scale_rewards"),
        (
            {"advantages": "group", "multi_objective_aggregation": "normalize_then_sum"},
            "of the sum of all rewards",
        ),
    ],
)
def test_what_trl_cannot_do_is_refused(tmp_path, settings, message):
    with pytest.raises(maspo.InputError, match=message):
        MASPOConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True, **settings)


@pytest.mark.parametrize(
    ("settings", "advantages", "scale_rewards", "loss_type"),
    [
        ([], "group", "group", "dapo"),
        (["objective.name=dr_grpo"], "center", "none", "dr_grpo"),
        (["objective.name=rloo"], "loo", "group", "luspo"),
        (["objective.name=rloo", "training.advantages=batch"], "batch", "batch", "luspo"),
        (["objective.name=rloo", "training.reduction=token-mean"], "loo", "group", "dapo"),
    ],
)
def test_a_recipe_takes_the_objectives_own_axes(
    tmp_path, settings, advantages, scale_rewards, loss_type
):
    recipe = load_recipe("quickstart", settings)
    args = trl_config(recipe, tmp_path)
    assert (args.advantages, args.scale_rewards, args.loss_type) == (
        advantages, scale_rewards, loss_type,
    )  # fmt: skip
    lines = "\n".join(plan(recipe))
    assert f"advantages {recipe.advantages}, reduction {recipe.reduction}" in lines


def test_a_recipe_cannot_decide_twice(tmp_path):
    for settings, message in (
        (["trl.scale_rewards=none"], "trl.scale_rewards is decided by training.advantages"),
        (["trl.loss_type=grpo"], "trl.loss_type is decided by training.reduction"),
        (["training.advantages=sas"], "Input should be"),
    ):
        with pytest.raises(maspo.InputError, match=message):
            trl_config(load_recipe("quickstart", settings), tmp_path)
