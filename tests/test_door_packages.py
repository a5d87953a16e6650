"""The doors in the packages of their hosts, where these are installed: `.ci/run` has an environment for each.

prime-rl and rLLM are not on PyPI, slime needs Megatron, Axolotl another Python; `test_doors.py` has their
documented calls.
"""

import asyncio
import json
import sys
import typing
from importlib.util import find_spec
from types import SimpleNamespace

import hosts
import pytest
import torch
import typing_extensions

from maspo import make_objective, policy_loss
from maspo.engines import skyrl
from maspo.engines import tinker as door
from maspo.engines.doors import DOORS, standing_of

OBJECTIVES = {
    "maspo": {"alpha": 0.5},
    "grpo": {},
    "sapo": {},
    "cispo": {},
    "gspo": {"epsilon_low": 0.2, "epsilon_high": 0.3},
    "dppo_tv": {"delta_low": 0.05},
}
if find_spec("skyrl") and sys.version_info < (
    3,
    12,
):  # as its settings need
    typing.TypedDict = typing_extensions.TypedDict

every_objective = pytest.mark.parametrize(("name", "settings"), OBJECTIVES.items())


def tinker_data(given):
    tinker = pytest.importorskip("tinker", reason="Tinker is not installed")
    _, old, advantages, mask = given
    data = []
    for row, length in enumerate(mask.sum(1).tolist()):
        inputs = {
            "target_tokens": torch.zeros(length, dtype=torch.long),
            "logprobs": old[row, :length].float(),
            "advantages": advantages[row, :length].float(),
            "mask": torch.ones(length),
        }
        tokens = tinker.ModelInput.from_ints([1] * length)
        data.append(tinker.Datum(model_input=tokens, loss_fn_inputs=inputs))
    return data


def scored(given):
    """Return what Tinker's server answers to a forward pass."""
    from tinker import types

    new, _, _, mask = given
    rows = [row[:n].float() for row, n in zip(new, mask.sum(1).tolist(), strict=True)]
    outputs = [{"logprobs": types.TensorData.from_torch(row)} for row in rows]
    return types.ForwardBackwardOutput("ArrayRecord", outputs, {})


def expected_weights(name, settings, given, reduction):
    """Return what Tinker's client has to send: minus the gradient, in float32, row by row."""
    single = [x.float() if x.is_floating_point() else x for x in given]
    return -hosts.by_policy_loss(name, settings, single, reduction)


@every_objective
def test_tinkers_client_sends_the_gradient(name, settings):
    given = hosts.batch()
    data = tinker_data(given)
    from tinker.lib.public_interfaces.training_client import TrainingClient

    function = door.loss(name, reduction="token-mean", **settings)
    found = TrainingClient._compute_custom_loss(data, function, scored(given))
    expected = expected_weights(name, settings, given, "token-mean")
    for datum, row in zip(found.data, expected, strict=True):
        sent = datum.loss_fn_inputs["weights"].to_torch()
        torch.testing.assert_close(sent, row[: len(sent)], rtol=0, atol=1e-6)
    assert found.metrics["maspo/ratio_mean"] > 0


@every_objective
def test_tinkers_client_traces_the_loss_of_the_server(name, settings):
    given = hosts.batch()
    data = tinker_data(given)
    from tinker.lib.public_interfaces.custom_loss import check_loss_inputs, encode_graph, trace_loss
    from tinker.lib.public_interfaces.training_client import TrainingClient

    handle = trace_loss(*door.server_loss(name, **settings), "session")
    data = door.server_inputs(data, reduction="seq-mean-token-mean")
    check_loss_inputs(handle, data)
    graph = json.loads(encode_graph(handle).model_dump_json())
    assert {node["op"] for node in graph["nodes"]} <= {
        "placeholder", "call_function", "call_method", "output",
    }  # fmt: skip
    found = TrainingClient._compute_custom_loss(data, handle, scored(given))
    expected = expected_weights(name, settings, given, "seq-mean-token-mean")
    for datum, row in zip(found.data, expected, strict=True):
        sent = datum.loss_fn_inputs["weights"].to_torch()
        torch.testing.assert_close(sent, row[: len(sent)], rtol=0, atol=1e-6)
    assert found.metrics["custom/maspo/tokens:sum"] == sum(hosts.LENGTHS)


def test_a_training_step_on_tinker_queues_everything_first():
    given = hosts.batch()
    data, order = tinker_data(given), []

    async def answer(what, value):
        order.append(f"{what} waited for")
        return value

    class Client:
        """Queues as Tinker's client does, and runs its own arithmetic."""

        def forward_backward_custom(self, part, function):
            order.append(f"pass over {len(part)}")
            leaves = [torch.full((len(x.loss_fn_inputs["mask"].data),), -1.0) for x in part]
            _, metrics = function(part, [x.requires_grad_() for x in leaves])
            return answer("pass", SimpleNamespace(metrics=metrics))

        def optim_step(self, params):
            order.append(f"step at {params.learning_rate}")
            return answer("step", SimpleNamespace(metrics={"norm": 1.0}))

    metrics = asyncio.run(door.train_step(data, Client(), 1e-4, "maspo", substeps=2, alpha=0.5))
    assert order[:4] == ["pass over 2", "step at 0.0001"] * 2 and len(order) == 8
    assert [one["norm"] for one in metrics] == [1.0, 1.0]
    assert all("maspo/gate_mean" in one for one in metrics)


@every_objective
def test_trinitys_registry_makes_the_loss_and_calls_it(name, settings):
    pytest.importorskip("trinity", reason="Trinity-RFT is not installed")
    from trinity.algorithm.policy_loss_fn import POLICY_LOSS_FN

    kind = POLICY_LOSS_FN.get("maspo.engines.trinity_rft.MASPOPolicyLoss")
    assert kind.default_args() == {"objective": "maspo"}
    loss = kind(backend="verl", objective=name, loss_agg_mode="seq-mean-token-mean", **settings)
    assert set(loss.select_keys) == {"old_log_probs", "response_mask", "advantages"}
    given = hosts.batch()
    leaf = given[0].clone().requires_grad_()
    found, metrics = loss(
        log_prob=leaf, old_log_probs=given[1], advantages=given[2], response_mask=given[3],
        ref_log_prob=None,
    )  # fmt: skip
    found.backward()
    expected = hosts.by_policy_loss(name, settings, given, "seq-mean-token-mean")
    torch.testing.assert_close(leaf.grad, expected, rtol=0, atol=1e-12)
    assert all(isinstance(value, float) for value in metrics.values())


@pytest.mark.parametrize("reduction", ["token_mean", "sequence_mean", "seq_mean_token_sum_norm"])
@every_objective
def test_skyrls_registry_and_its_division_of_advantages(name, settings, reduction):
    pytest.importorskip("skyrl", reason="SkyRL is not installed")
    from skyrl.backends.skyrl_train.utils import ppo_utils
    from skyrl.train.config import AlgorithmConfig

    word = f"{name}, {reduction}"
    skyrl.register({"name": name, **settings}, name=word, sequences=4)
    loss = ppo_utils.PolicyLossRegistry.get(word)
    if reduction == "token_mean" and not loss.proportional:
        return
    new, old, a, mask = hosts.batch()
    a = a.nan_to_num(0.0)  # it divides what lies under the mask too
    config = AlgorithmConfig(loss_reduction=reduction, max_seq_len=9)
    divided = ppo_utils.apply_loss_reduction_to_advantages_minibatch(
        a, mask.double(), reduction, micro_batch_size=2, max_seq_len=9
    )

    def of_part(*rows):
        new, old, a, mask = rows
        kwargs = {"config": config, "loss_mask": mask.double(), "rollout_logprobs": None}
        return loss(new, old, a, **kwargs)[0]

    found = hosts.of_parts((new, old, divided, mask), of_part)
    ours = {
        "token_mean": {"reduction": "token-mean"},
        "sequence_mean": {"reduction": "seq-mean-token-mean"},
        "seq_mean_token_sum_norm": {"reduction": "seq-mean-token-sum-norm", "max_length": 9},
    }[reduction]
    leaf = new.clone().requires_grad_()
    objective = make_objective(name, **settings)
    policy_loss(leaf, old, a, mask, objective=objective, **ours).loss.backward()
    torch.testing.assert_close(found, leaf.grad, rtol=0, atol=1e-12)


def test_the_versions_here_are_those_that_were_tried():
    for one in DOORS.values():
        found = one.installed()
        assert found in (None, "unknown") or one.tried.startswith(found), one.title


@pytest.mark.parametrize("name", DOORS)
def test_a_door_whose_host_is_here_is_live(name):
    found = standing_of(name)
    if found.version is None:
        pytest.skip(f"{DOORS[name].title} is not installed")
    assert found.live, found.said
