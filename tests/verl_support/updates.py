"""verl's actor update in Ray workers under FSDP2 and gloo, on one process and on two.

    PYTHONPATH=tests python tests/verl_support/updates.py OUT.json

Every one of `STEPS` takes the same eight responses as one mini-batch. Writes verl's metrics, a list for
each world size.
"""

import json
import os
import sys
from functools import partial
from pathlib import Path

import torch

from maspo.models import EMBEDDED
from verl_support.environment import ENVIRONMENT

ROWS, PROMPT, TIME = 8, 6, 10
LEARNING_RATE = 1e-4
OBJECTIVE = {"name": "maspo", "alpha": 0.5, "sigma_base": 0.5}
CLIP_COV = {"name": "clip_cov", "cov_low": 0.2}
STEPS = (
    {"objective": OBJECTIVE, "micro": 4},
    {"objective": OBJECTIVE, "micro": 2},
    {"objective": OBJECTIVE, "micro": 1},
    {"objective": {"name": "entropy_advantage"}, "micro": 2},
    {"objective": {"name": "aspo"}, "micro": 4},
    {"objective": {"name": "bapo", "upper_max": 1.5}, "micro": None},  # the update in one piece
    {"objective": CLIP_COV | {"fraction": 1.0}, "micro": None},  # all candidates: nothing is drawn
    # From here on the weights depend on the number of processes.
    {"objective": {"name": "bapo", "upper_max": 1.5}, "micro": 2, "coupling": "micro_batch"},
    {"objective": {"name": "kl_cov", "fraction": 0.1}, "micro": 2, "coupling": "micro_batch"},
    {"objective": CLIP_COV | {"fraction": 0.05}, "micro": 2, "coupling": "micro_batch", "drawn": True},
)  # fmt: skip
"""The updates: objective, responses of a micro-batch of one process, and what is coupled.

`drawn`: Clip-Cov draws by a hash of the log-probabilities, whose last bits differ between two ways through
the model, so of the last step only the number of tokens that are dropped is the same.
"""


def micro_of(step, world):
    """Give the responses in a micro-batch of one process."""
    return step["micro"] or ROWS // world


def responses():
    """Make random responses with old log-probabilities that are off, `[ROWS, ...]`."""
    g = torch.Generator().manual_seed(0)
    prompt = torch.arange(PROMPT) >= torch.tensor([0, 2, 1, 0, 3, 0, 1, 2])[:, None]
    answer = torch.arange(TIME) < torch.tensor([10, 5, 1, 7, 10, 3, 8, 2])[:, None]
    mask = torch.cat([prompt, answer], 1)
    ids = torch.randint(4, 200, (ROWS, PROMPT + TIME), generator=g)
    return {
        "input_ids": ids,
        "attention_mask": mask.long(),
        "position_ids": (mask.cumsum(1) - 1).clamp(min=0),
        "prompts": ids[:, :PROMPT],
        "responses": ids[:, PROMPT:],
        "response_mask": answer.long(),
        "shift": torch.randn(ROWS, TIME, generator=g) * 0.7,
        "advantages": torch.randn(ROWS, 1, generator=g).expand(ROWS, TIME).contiguous() * answer,
        "rollout_is_weights": 2 * torch.rand(ROWS, TIME, generator=g) * answer,
    }


def scores(model, rows):
    """Score the responses with a plain forward pass: log-probabilities and entropies, `[ROWS, TIME]`."""
    keys = ("input_ids", "attention_mask", "position_ids")
    logits = model(**{key: rows[key] for key in keys}).logits[:, PROMPT - 1 : -1].log_softmax(-1)
    entropies = -(logits.exp() * logits).sum(-1)
    return logits.gather(-1, rows["responses"][..., None])[..., 0], entropies


def log_probs(model, rows):
    return scores(model, rows)[0]


def old_log_probs(rows):
    """Score the responses with the initial weights, and move them off."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32)
    with torch.no_grad():
        return (log_probs(model, rows) + rows["shift"]).clamp(max=0)


def updates(world, data):
    """Take the updates on `world` processes and give verl's metrics of each."""
    import ray
    from verl.single_controller.ray import RayClassWithInitArgs, RayResourcePool, RayWorkerGroup
    from verl.trainer.config import CheckpointConfig
    from verl.utils import tensordict_utils
    from verl.utils.metric import reduce_metrics
    from verl.workers.config import (
        FSDPActorConfig,
        FSDPEngineConfig,
        FSDPOptimizerConfig,
        HFModelConfig,
        TrainingWorkerConfig,
    )
    from verl.workers.engine_workers import TrainingWorker
    from verl.workers.utils.losses import ppo_loss

    from maspo.engines.verl.settings import MASPOPolicyLossConfig

    fp32 = {f"{kind}_dtype": "fp32" for kind in ("param", "reduce", "buffer")}
    config = TrainingWorkerConfig(
        model_type="language_model",
        model_config=HFModelConfig(
            path=str(EMBEDDED),
            use_remove_padding=False,
            enable_gradient_checkpointing=False,
            override_config={"attn_implementation": "eager"},
        ),
        engine_config=FSDPEngineConfig(
            strategy="fsdp2", mixed_precision=fp32, use_torch_compile=False, use_dynamic_bsz=False
        ),
        optimizer_config=FSDPOptimizerConfig(
            lr=LEARNING_RATE, weight_decay=0.0, clip_grad=1.0, total_training_steps=100
        ),
        checkpoint_config=CheckpointConfig(),
    )
    workers = RayWorkerGroup(
        resource_pool=RayResourcePool([world]),
        ray_cls_with_init=RayClassWithInitArgs(ray.remote(TrainingWorker), config=config),
        device_name="cpu",
    )
    workers.reset()
    found = []
    for step in STEPS:
        loss = MASPOPolicyLossConfig(objective=step["objective"], coupling=step.get("coupling"))
        asks = bool(loss.made.inputs)
        actor = FSDPActorConfig(
            strategy="fsdp2", policy_loss=loss, rollout_n=1, ppo_micro_batch_size_per_gpu=1,
            use_torch_compile=False, calculate_entropy=asks,
        )  # fmt: skip
        workers.set_loss_fn(partial(ppo_loss, config=actor))
        batch = data.clone()
        settings = {"mini_batch_size": ROWS, "temperature": 1.0, "global_batch_size": ROWS}
        settings |= {
            "micro_batch_size_per_gpu": micro_of(step, world),
            "use_dynamic_bsz": False,
            "calculate_entropy": asks,
        }
        tensordict_utils.assign_non_tensor(batch, **settings)
        metrics = tensordict_utils.get(workers.train_mini_batch(batch).get(), "metrics")
        found.append({key: float(value) for key, value in reduce_metrics(metrics).items()})
    return found


def main(out):
    os.environ.update(ENVIRONMENT)
    import ray
    import verl  # noqa: F401  (loads verl_support.cpu, before Ray starts)
    from verl.utils import tensordict_utils
    from verl.workers.utils.padding import left_right_2_no_padding

    rows = responses()
    rows["old_log_probs"] = old_log_probs(rows) * rows["response_mask"]
    del rows["shift"]
    data = left_right_2_no_padding(tensordict_utils.get_tensordict(rows))
    ray.init(
        num_cpus=32, num_gpus=3, _node_ip_address="127.0.0.1", include_dashboard=False,
        log_to_driver=True,
    )  # fmt: skip
    try:
        found = {world: updates(world, data) for world in (1, 2)}
        Path(out).write_text(json.dumps(found))
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
