"""Objectives on TRL's asynchronous trainer: its real loss, and a run through its own protocols on a CPU."""

import copy
import queue
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AttentionInterface
from trl.experimental.async_grpo import AsyncGRPOConfig, AsyncGRPOTrainer, async_grpo_trainer
from trl.experimental.async_grpo.async_grpo_trainer import DataCollatorForRollout
from trl.experimental.async_grpo.async_rollout_worker import RolloutSample
from trl.experimental.async_grpo.packing import TREE_ATTENTION, TreeRow

import maspo
from maspo import make_objective
from maspo.engines.trl import AsyncMASPOConfig, AsyncMASPOTrainer
from maspo.errors import InputError
from maspo.models import load_model

PROMPTS = ["2+2=", "19-5=", "77+1=", "30-12="]
COMMON = {
    "use_cpu": True, "bf16": False, "gradient_checkpointing": False, "report_to": [],
    "save_strategy": "no", "disable_tqdm": True, "token_budget": -1, "num_generations": 4,
    "max_completion_length": 6, "per_device_train_batch_size": 8, "max_steps": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The embedded model as a folder, which is what TRL's trainer takes."""
    folder = tmp_path_factory.mktemp("model")
    model, tokenizer = load_model("embedded")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


class Idle:
    """A worker and a transfer that do nothing."""

    def __init__(self):
        self.rollout_buffer, self.metrics_queue = queue.Queue(), queue.Queue()

    def __getattr__(self, name):
        return lambda *_: None


def trainer(kind, args, place, worker=None, transfer=None):
    return kind(
        place,
        None,
        args,
        train_dataset=Dataset.from_list([{"prompt": p} for p in PROMPTS]),
        processing_class=load_model("embedded")[1],
        rollout_worker=worker or Idle(),
        weight_transfer=transfer or Idle(),
    )


def ours(place, tmp_path, **settings):
    return trainer(AsyncMASPOTrainer, AsyncMASPOConfig(str(tmp_path), **COMMON, **settings), place)


# --- the loss ------------------------------------------------------------------------------------

LENGTHS = [(3, 5), (3, 2), (4, 7), (2, 1), (3, 5)]


def micro_batch(seed=0):
    """Samples as a worker leaves them, packed by TRL: two share a prompt, and two are the same throughout."""
    draw = np.random.default_rng(seed)
    row, samples = TreeRow(), []
    for index, (prompt, completion) in enumerate(LENGTHS):
        ids = np.concatenate([[7, 8, 9, 10][:prompt], draw.integers(20, 60, completion)])
        mask = np.array([0] * prompt + [1] * completion)
        if index == 2:
            mask[prompt + 2] = 0  # what a tool said
        if index == 4:
            ids = samples[0]["input_ids"]
        samples.append({
            "input_ids": ids, "completion_mask": mask, "advantage": float(draw.normal()),
            "old_log_probs": np.where(mask, -3 * draw.random(len(ids)) - 0.1, 0.0),
            "group_id": index // 2, "metrics": {"reward": 1.0},
        })  # fmt: skip
        row.add(samples[-1])
    inputs = DataCollatorForRollout(0).torch_call([[row]])
    wide = {key: x.double() if x.is_floating_point() else x for key, x in inputs.items()}
    return samples, row, wide


class Stub:
    """A model whose log-probabilities are leaves, float64; one position serves all that share it."""

    def __init__(self, inputs, seed=1):
        g = torch.Generator().manual_seed(seed)
        shape = inputs["input_ids"].shape
        self.leaf = (-3 * torch.rand(shape, generator=g, dtype=torch.float64)).requires_grad_()
        self.entropy = torch.rand(shape, generator=g, dtype=torch.float64)

    def __call__(self, **_):
        return SimpleNamespace(log_probs=self.leaf, entropy=self.entropy, aux_loss=None)


def gradient(made, inputs, accumulation=3):
    made.current_gradient_accumulation_steps = accumulation
    stub = Stub(inputs)
    loss = made.compute_loss(stub, dict(inputs))
    loss.backward()
    return float(loss.detach()), stub.leaf.grad, dict(made._metrics["train"])


def by_policy_loss(samples, inputs, objective, reduction, accumulation=3, **more):
    """Padded as users of the library have it; the place of each token counted from the packing's own."""
    stub = Stub(inputs)
    width = max(len(s["input_ids"]) for s in samples)
    terms = iter(
        zip(*(inputs[k][0].tolist() for k in ("token_index", "old_log_probs")), strict=True)
    )
    at = torch.zeros(len(samples), width, dtype=torch.long)
    old, mask = torch.zeros(len(samples), width, dtype=torch.float64), at.bool()
    for i, sample in enumerate(samples):
        for j, on in enumerate(sample["completion_mask"]):
            if on:
                at[i, j], old[i, j] = next(terms)
                mask[i, j] = True
    advantages = torch.tensor([s["advantage"] for s in samples]).float().double()
    found = stub.leaf.flatten()[at]
    entropies = stub.entropy.flatten()[at]
    length = {"max_length": 6} if reduction == "seq-mean-token-sum-norm" else {}
    loss = maspo.policy_loss(
        found, old, advantages, mask, objective=objective, reduction=reduction,
        entropies=entropies, **length, **more,
    ).loss / accumulation  # fmt: skip
    loss.backward()
    return float(loss.detach()), stub.leaf.grad


@pytest.mark.parametrize(
    ("name", "settings", "reduction"),
    [
        ("maspo", {}, None),
        ("maspo", {"cap": 1.5}, None),
        ("maspo", {"cap": 1.5, "soft_cap": True, "off_policy_threshold": 0.3}, None),
        ("grpo", {}, "seq-mean-token-sum"),
        ("gspo", {"epsilon_low": 0.1, "epsilon_high": 0.2}, None),
        ("dr_grpo", {}, None),
        ("sapo", {}, None),
        ("drpo", {"epsilon": 0.1}, None),
        ("cppo", {}, None),
        ("aspo", {}, None),
    ],
)
def test_the_gradient_is_that_of_policy_loss(place, tmp_path, name, settings, reduction):
    samples, _, inputs = micro_batch()
    objective = make_objective(name, **settings)
    made = ours(place, tmp_path, objective=objective, reduction=reduction)
    loss, grad, metrics = gradient(made, inputs)
    whole = reduction or objective.reduction or "token-mean"
    expected, slopes = by_policy_loss(samples, inputs, objective, whole)
    assert loss == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(grad, slopes, rtol=1e-12, atol=1e-15)
    assert slopes.abs().sum() > 0 and metrics["ratio"]


def test_grpo_through_it_is_stock(place, tmp_path, monkeypatch):
    monkeypatch.setattr(async_grpo_trainer, "get_peak_flops_per_device", lambda *_: None)
    _, _, inputs = micro_batch()
    stock = trainer(AsyncGRPOTrainer, AsyncGRPOConfig(str(tmp_path), **COMMON), place)
    expected, slopes, metrics = gradient(stock, inputs)
    loss, grad, found = gradient(ours(place, tmp_path, objective="grpo"), inputs)
    assert loss == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(grad, slopes, rtol=1e-12, atol=1e-15)
    assert set(metrics) == set(found)
    for key, values in metrics.items():
        assert found[key] == pytest.approx(values, rel=1e-6, abs=1e-9), key
    assert metrics["clip_ratio/region_mean"][0] > 0


def test_corrections_weigh_or_reject(place, tmp_path):
    """With a weight the ratio is 1 and x carries the difference; a rejection leaves the ratio alone."""
    samples, _, inputs = micro_batch()
    chosen = {"mode": "token_truncate", "high": 1.5}
    _, grad, _ = gradient(ours(place, tmp_path, objective="grpo", correction=chosen), inputs)
    log_probs = Stub(inputs).leaf.detach().flatten()
    index, old = inputs["token_index"][0], inputs["old_log_probs"][0].double()
    x = (log_probs[index] - old).exp().clamp(max=1.5)
    slopes = torch.zeros_like(log_probs).index_add(0, index, -x * inputs["advantages"][0].double())
    torch.testing.assert_close(grad.flatten(), slopes / len(index) / 3, rtol=1e-12, atol=1e-15)
    none = {"mode": "seq_mean_k3", "high": 1e-9}
    _, grad, _ = gradient(ours(place, tmp_path, objective="grpo", correction=none), inputs)
    assert not grad.any()
    every = {"mode": "seq_mean_k3", "high": 1e9}
    _, grad, _ = gradient(ours(place, tmp_path, objective="grpo", correction=every), inputs)
    expected = by_policy_loss(samples, inputs, make_objective("grpo"), "token-mean")[1]
    torch.testing.assert_close(grad, expected, rtol=1e-12, atol=1e-15)


# --- a run ---------------------------------------------------------------------------------------


def attention_on_a_cpu(
    module, query, key, value, attention_mask, *, tree_kv_index, tree_cu_seqlens_q,
    tree_cu_seqlens_k, scaling=None, **_,
):  # fmt: skip
    """Attend segment by segment to the path of each, as TRL's function does with FlashAttention 3."""
    groups = query.size(1) // key.size(1)
    key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    ends, paths = tree_cu_seqlens_q.tolist(), tree_cu_seqlens_k.tolist()
    found = []
    for i, (start, end) in enumerate(pairwise(ends)):
        path = tree_kv_index[paths[i] : paths[i + 1]]
        before = len(path) - (end - start)
        allowed = torch.ones(end - start, len(path), dtype=torch.bool).tril(before)
        found.append(torch.nn.functional.scaled_dot_product_attention(
            query[:, :, start:end], key[:, :, path], value[:, :, path], attn_mask=allowed, scale=scaling,
        ))  # fmt: skip
    return torch.cat(found, dim=2).transpose(1, 2), None


class Worker(Idle):
    """Samples with transformers by the weights that were sent, a few versions late, whenever asked."""

    def __init__(self, lag):
        super().__init__()
        self.model, self.tokenizer = load_model("embedded")
        self.versions, self.lag, self.groups, self.version = [], lag, 0, 0
        worker = self

        class Buffer(queue.Queue):
            def get(self, block=True, timeout=None):
                if self.empty():
                    for sample in worker.sample():
                        self.put(sample)
                return super().get(block, timeout)

        self.rollout_buffer = Buffer()
        self.start = self.stop = lambda: None
        self.update_model_version = lambda version: setattr(self, "version", version)

    def send_weights(self, iterator):
        self.versions.append({name: tensor.clone() for name, tensor in iterator})

    def sample(self):
        number = max(0, len(self.versions) - 1 - self.lag)
        self.model.load_state_dict(self.versions[number], strict=False)
        self.model.tie_weights()
        prompt = self.tokenizer(PROMPTS[self.groups % 4], return_tensors="pt")["input_ids"]
        torch.manual_seed(self.groups)
        drawn = self.model.generate(
            prompt.expand(4, -1), do_sample=True, max_new_tokens=6, top_k=0, top_p=1.0,
        )  # fmt: skip
        with torch.no_grad():
            rows = self.model(drawn).logits.log_softmax(-1)
        log_probs = rows[:, :-1].gather(2, drawn[:, 1:, None])[..., 0]
        start, eos = prompt.size(1), self.model.generation_config.eos_token_id
        ends = eos if isinstance(eos, list) else [eos]
        rewards = torch.tensor([float(ids[start:].sum() % 5) for ids in drawn])
        advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
        for ids, scores, advantage in zip(drawn, log_probs, advantages, strict=True):
            stop = [i for i in range(start, len(ids)) if ids[i].item() in ends]
            length = stop[0] + 1 if stop else len(ids)
            mask = np.array([0] * start + [1] * (length - start))
            old = np.concatenate([[0.0], scores[: length - 1].numpy()]) * mask
            yield RolloutSample(
                [], [], ids[:length].numpy(), mask, old, float(advantage), number + 1,
                self.groups, {"reward": 0.0},
            )  # fmt: skip
        self.groups += 1


@pytest.mark.parametrize("name", ["maspo", "gspo"])
def test_a_run_goes_through_trls_own_protocols(place, tmp_path, name):
    worker = Worker(lag=2)
    args = AsyncMASPOConfig(str(tmp_path), objective=name, learning_rate=3e-3, **COMMON)
    made = trainer(AsyncMASPOTrainer, args, place, worker, worker)
    start = copy.deepcopy(made.model.state_dict())
    AttentionInterface.register(TREE_ATTENTION, attention_on_a_cpu)
    made.train()
    rows = [row for row in made.state.log_history if "loss" in row]
    assert len(rows) == 4 and len(worker.versions) == 5
    assert [row["sample/staleness_max"] for row in rows] == [0, 1, 2, 2]
    # Fresh samples have a ratio of 1, so the packed model is the one that sampled.
    assert rows[0]["ratio"] == pytest.approx(1, abs=1e-4) and abs(rows[0]["kl"]) < 1e-6
    assert rows[0]["maspo/gate_mean"] == pytest.approx(1, abs=1e-3)
    assert abs(rows[3]["kl"]) > 1e-4  # and later ones have not
    assert all(row["batch/packing_ratio"] > 1 for row in rows)
    state = made.model.state_dict()
    assert any(not torch.equal(start[key], state[key]) for key in state)
    sent = worker.versions[-1]
    assert all(torch.equal(sent[key], state[key]) for key in sent if key in state)


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epsilon": 0.2}, "epsilon_low and epsilon_high of GRPO"),
        ({"epsilon_high": 0.3}, "epsilon_high of GRPO"),
        ({"objective": "bapo"}, "looks at other sequences"),
        ({"objective": "real"}, "looks at other sequences"),
        ({"reduction": "sum"}, "unknown reduction 'sum'"),
        ({"correction": {"mode": "tis"}}, "unknown rollout mode 'tis'"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, settings, said):
    with pytest.raises(InputError, match=said):
        AsyncMASPOConfig(str(tmp_path), **COMMON, **settings)


def test_where_flash_attention_cannot_run_one_sentence_says_so(place, tmp_path):
    made = ours(place, tmp_path)
    with pytest.raises(InputError, match="which needs an NVIDIA GPU"):
        made.train()
    with pytest.raises(InputError, match="must be an AsyncMASPOConfig, not AsyncGRPOConfig"):
        AsyncMASPOTrainer(place, None, AsyncGRPOConfig(str(tmp_path), **COMMON))
