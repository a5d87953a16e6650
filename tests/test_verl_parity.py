"""One batch, one model, one gradient: by the library, by TRL's trainer, and by verl's `ppo_loss`.

Needs TRL beside verl, in an environment that no run of verl could use: see `.ci/run`.
"""

import pytest
import torch

pytest.importorskip("verl", reason="verl is not installed")
pytest.importorskip("trl", reason="TRL is not installed beside verl")

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from verl.utils import tensordict_utils
from verl.workers.config import FSDPActorConfig
from verl.workers.utils.losses import ppo_loss
from verl_support.updates import PROMPT, log_probs, old_log_probs, responses

from maspo import make_objective, policy_loss
from maspo.engines.trl import MASPOConfig, MASPOTrainer
from maspo.engines.verl.settings import MASPOPolicyLossConfig
from maspo.models import EMBEDDED

LOSS_TYPES = {"token-mean": "bnpo", "seq-mean-token-mean": "grpo", "seq-mean-token-sum": "luspo"}


def gradient(model):
    """Collect the gradient of all weights, and forget it."""
    found = torch.cat([p.grad.flatten() for p in model.parameters()])
    model.zero_grad()
    return found


def by_the_library(model, rows, name, reduction):
    new, mask = log_probs(model, rows), rows["response_mask"]
    loss = policy_loss(
        new, rows["old_log_probs"], rows["advantages"], mask, objective=name, reduction=reduction
    ).loss
    loss.backward()
    return loss.item(), gradient(model)


def by_trl(model, rows, name, reduction, folder):
    args = MASPOConfig(
        output_dir=str(folder), objective=make_objective(name), loss_type=LOSS_TYPES[reduction],
        max_completion_length=rows["responses"].shape[1], num_generations=4, bf16=False, use_cpu=True,
        per_device_train_batch_size=8, steps_per_generation=4, report_to=[], temperature=1.0,
    )  # fmt: skip
    trainer = MASPOTrainer(
        model, lambda **_: [], args, train_dataset=Dataset.from_dict({"prompt": ["a", "b"]}),
        processing_class=AutoTokenizer.from_pretrained(EMBEDDED),
    )  # fmt: skip
    trainer.current_gradient_accumulation_steps = 1
    batch = {
        "prompt_ids": rows["prompts"],
        "prompt_mask": rows["attention_mask"][:, :PROMPT],
        "completion_ids": rows["responses"],
        "completion_mask": rows["response_mask"],
        "advantages": rows["advantages"][:, 0],
        "old_per_token_logps": rows["old_log_probs"],
        "num_items_in_batch": rows["response_mask"].sum(),
    }
    trainer.model.train()
    loss = trainer._compute_loss(trainer.model, batch)
    loss.backward()
    return loss.item(), gradient(trainer.model)


def by_verl(model, rows, name, reduction):
    keep = (
        "prompts",
        "responses",
        "response_mask",
        "attention_mask",
        "old_log_probs",
        "advantages",
    )
    data = tensordict_utils.get_tensordict({key: rows[key] for key in keep})
    inputs = {key: rows[key] for key in ("input_ids", "attention_mask", "position_ids")}
    logits = model(**inputs).logits
    # As verl's engine has it: the score of a token stands at the place before it.
    shifted = rows["input_ids"].roll(-1, 1)
    scores = logits.log_softmax(-1).gather(-1, shifted[..., None])[..., 0]
    valid = rows["attention_mask"].bool()
    nested = torch.nested.as_nested_tensor(
        [row[mask] for row, mask in zip(scores, valid, strict=True)], layout=torch.jagged
    )
    counts = {"dp_size": 1, "batch_num_tokens": int(rows["response_mask"].sum())}
    tensordict_utils.assign_non_tensor(data, **counts, global_batch_size=len(valid))
    actor = FSDPActorConfig(
        policy_loss=MASPOPolicyLossConfig(objective={"name": name}), loss_agg_mode=reduction,
        rollout_n=1, ppo_micro_batch_size_per_gpu=1,
    )  # fmt: skip
    loss, _ = ppo_loss(actor, {"log_probs": nested}, data)
    loss.backward()
    return loss.item(), gradient(model)


@pytest.mark.parametrize("reduction", LOSS_TYPES)
@pytest.mark.parametrize("name", ["maspo", "grpo", "sapo", "dro"])
def test_three_ways_to_one_gradient(name, reduction, tmp_path):
    rows = responses()
    rows["old_log_probs"] = old_log_probs(rows)
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32)
    value, expected = by_the_library(model, rows, name, reduction)
    size = expected.norm()
    assert size > 1e-3
    verl_value, verls = by_verl(model, rows, name, reduction)
    trl_value, trls = by_trl(model, rows, name, reduction, tmp_path)
    assert verl_value == pytest.approx(value, rel=1e-6)
    assert trl_value == pytest.approx(value, rel=1e-6)
    assert (verls - expected).norm() <= 1e-6 * size
    assert (trls - expected).norm() <= 1e-6 * size
