"""Objectives that need to know which completions answer the same prompt."""

import pytest
import torch
from datasets import Dataset

import maspo
from maspo.engines.trl import MASPOConfig, MASPOTrainer
from maspo.engines.trl.translate import trl_config
from maspo.errors import InputError
from maspo.models import load_model
from maspo.recipes import load_recipe

PROMPTS = ["2+2=", "19-5=", "77+1=", "30-12="]


class Watched(MASPOTrainer):
    """A trainer that keeps what its losses see."""

    def _compute_loss(self, model, inputs):
        self.seen.append((inputs["prompt_ids"], inputs["groups"], inputs["advantages"]))
        return super()._compute_loss(model, inputs)


@pytest.mark.parametrize("micro_batch", [4, 8])
def test_every_micro_batch_holds_whole_groups_of_one_prompt_each(tmp_path, micro_batch):
    """TRL shuffles the rows of a rollout, so that groups would be torn."""
    model, tokenizer = load_model("embedded")
    args = MASPOConfig(
        str(tmp_path), objective="real", per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=8 // micro_batch, num_generations=4, updates_per_rollout=2,
        max_completion_length=6, max_steps=4, use_cpu=True, bf16=False, report_to=[],
        save_strategy="no", disable_tqdm=True, learning_rate=1e-3,
    )  # fmt: skip
    trainer = Watched(
        model,
        lambda completions, **_: [float(sum(map(ord, c)) % 5) for c in completions],
        args,
        train_dataset=Dataset.from_list([{"prompt": p} for p in PROMPTS]),
        processing_class=tokenizer,
    )
    trainer.seen, batches = [], []
    trainer.token_sink = lambda step, batch, live: batches.append(batch)
    trainer.train()
    assert len(trainer.seen) == 4 * (8 // micro_batch)
    for (prompts, groups, advantages), batch in zip(trainer.seen, batches, strict=True):
        assert torch.equal(batch.groups, groups)
        assert groups.unique(return_counts=True)[1].tolist() == [4] * (micro_batch // 4)
        for number in groups.unique():
            mine = groups == number
            assert len(prompts[mine].unique(dim=0)) == 1
            # Advantages of a group add up to zero, so these are the four that were sampled together.
            assert abs(advantages[mine].sum()) < 1e-5


def test_a_micro_batch_that_tears_groups_is_refused(tmp_path):
    words = ["objective={name: real}", "training.micro_batch=4"]
    with pytest.raises(InputError, match=r"REAL needs whole groups: .* multiple of .* 8, and is 4"):
        trl_config(load_recipe("quickstart", words), tmp_path)
    # That a micro-batch is a part of the update changes nothing, so nothing is said of it.
    args = trl_config(
        load_recipe("quickstart", [*words[:1], "training.micro_batch=8"]), tmp_path, strict=True
    )
    assert args.objective == maspo.REAL()


def test_groups_are_those_that_are_given():
    """Two groups of two by hand: s = ±0.2 in the one, and the other has no label."""
    old = torch.full((4, 3), -1.0, dtype=torch.float64)
    new = old + torch.tensor([0.2, -0.2, 0.3, 0.1], dtype=torch.float64)[:, None]
    advantages = torch.tensor([1.0, -1.0, 0.0, 0.0], dtype=torch.float64)
    log_probs = new.clone().requires_grad_()
    loss = maspo.policy_loss(
        log_probs, old, advantages, torch.ones(4, 3), objective="real",
        groups=torch.tensor([7, 7, 9, 9]),
    ).loss  # fmt: skip
    loss.backward()
    told = torch.tensor(-0.2 / 0.5, dtype=torch.float64)  # both are told apart by 0.2
    assert float(loss.detach()) == pytest.approx(2 * float(torch.log1p(told.exp())) / 2)
    slope = 2 / 0.5 * float(torch.sigmoid(told)) / (4 * 3)
    expected = torch.tensor([-slope, slope, 0.0, 0.0], dtype=torch.float64)[:, None]
    torch.testing.assert_close(log_probs.grad, expected.expand(4, 3))
