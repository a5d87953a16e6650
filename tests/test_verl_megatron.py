"""verl's Megatron engine, where Megatron is installed: its own loss step, with our loss in it."""

from functools import partial

import pytest
import torch

pytest.importorskip("verl", reason="verl is not installed")
pytest.importorskip("megatron.core", reason="Megatron is not installed")

from verl.utils import tensordict_utils
from verl.workers.config import McoreActorConfig
from verl.workers.engine.megatron.transformer_impl import MegatronEngineWithLMHead
from verl.workers.utils.losses import ppo_loss

from maspo.engines.two_tokens import two_tokens, weights_by_formula
from maspo.engines.verl.probe import as_verl
from maspo.engines.verl.settings import MASPOPolicyLossConfig
from maspo.objectives import make_objective


class Bare(MegatronEngineWithLMHead):
    """The engine without a model: only the step from log-probabilities to the loss is run."""

    engine_config = type("Config", (), {"dynamic_context_parallel": False})()
    tf_config = None

    def __init__(self):
        pass

    def prepare_model_outputs(self, output, data):
        return output

    def get_data_parallel_group(self):
        return None


@pytest.mark.parametrize("name", ["maspo", "grpo", "sapo"])
def test_the_loss_step_of_megatron_has_our_gradient(name):
    log_probs, old, advantages = two_tokens()
    leaf = log_probs.clone().requires_grad_()
    output, data = as_verl(leaf, old, advantages)
    tensordict_utils.assign_non_tensor(data, num_micro_batch=3)
    data["input_ids"] = torch.zeros(1, 2, dtype=torch.long)
    actor = McoreActorConfig(
        policy_loss=MASPOPolicyLossConfig(objective={"name": name}),
        rollout_n=1, ppo_micro_batch_size_per_gpu=1,
    )  # fmt: skip
    loss, _ = Bare().postprocess_micro_batch_func(
        output, data, forward_only=False, loss_function=partial(ppo_loss, config=actor)
    )[:2]
    loss.backward()
    assert leaf.grad is not None
    # Megatron divides by the number of micro-batches, for which verl multiplies; two tokens share the mean.
    weights = (-2 * leaf.grad / advantages)[0] / 3
    torch.testing.assert_close(weights, weights_by_formula(make_objective(name)), rtol=1e-6, atol=0)
