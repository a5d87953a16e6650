"""What takes another way on a GPU than on a CPU: the same numbers there as here."""

import pytest
import torch

pytest.importorskip("trl")

from architectures import make
from test_objectives import entropies_for, groups_for, random_batch
from test_shared_prefix import assert_same, both_ways, by_trl, rows, train, weights
from transformers import GenerationConfig
from trl.trainer.utils import add_fused_lm_head

import maspo
from maspo.core.diagnostics import order_statistics
from maspo.engines.trl.pass_costs import PRICES, Prices
from maspo.engines.trl.passes import TextRows
from maspo.models import EMBEDDED, load_model
from maspo.sampling.group import complete

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DEVICE = "cuda"


@pytest.mark.parametrize("name", maspo.OBJECTIVES)
def test_an_objective_is_the_same_there(name):
    log_probs, old, advantages, mask = random_batch(seed=1)
    found = []
    for device in ("cpu", DEVICE):
        leaf = log_probs.float().to(device).requires_grad_()
        made = maspo.policy_loss(
            leaf, old.float().to(device), advantages.float().to(device), mask.to(device), objective=name,
            entropies=entropies_for(log_probs).float().to(device), groups=groups_for(log_probs).to(device),
            reduction="token-mean",
        )  # fmt: skip
        made.loss.backward()
        numbers = {key: float(mean) for key, mean in made.metrics.items()}
        found.append((made.loss.item(), leaf.grad.cpu(), numbers))
    (loss, grad, metrics), (loss_there, grad_there, metrics_there) = found
    assert loss_there == pytest.approx(loss, rel=1e-4, abs=1e-6)
    torch.testing.assert_close(grad_there, grad, rtol=1e-4, atol=1e-6)
    assert metrics_there == pytest.approx(metrics, rel=1e-4, nan_ok=True)


def test_ranks_are_the_same_there():
    values = torch.randn(9000, generator=torch.Generator().manual_seed(0)).exp()
    there = order_statistics(values.to(DEVICE), [1, 4500, 8999])
    assert [x.item() for x in there] == [
        x.item() for x in order_statistics(values, [1, 4500, 8999])
    ]


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma2", "mixtral"])
def test_shared_prompts_have_the_gradients_of_the_plain_pass_there(name, checkpointing):
    model, _ = make(name)
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    model.to(DEVICE).train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    text = rows()
    there = TextRows(ids=text.ids.to(DEVICE), mask=text.mask.to(DEVICE), completion=text.completion)
    assert_same(*both_ways(model, by_trl, there), tolerance=1e-4)


def test_a_training_is_the_same_with_and_without_shared_prompts_there(tmp_path, monkeypatch):
    monkeypatch.setitem(PRICES, DEVICE, Prices(call=0, repeat=0))  # prompts this short save little
    plain, shared = (
        train(tmp_path / str(share), share_prefix=share, use_cpu=False) for share in (False, True)
    )
    assert not plain[1] and shared[1]
    before = load_model(EMBEDDED)[0].to(DEVICE)
    start = torch.cat([p.detach().flatten() for p in before.parameters()])
    apart, moved = weights(plain[0]) - weights(shared[0]), weights(plain[0]) - start
    assert moved.norm() > 0 and apart.norm() <= 1e-3 * moved.norm()


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_greedy_group_decoding_draws_the_tokens_of_generate_there(name):
    model, tokenizer = make(name)
    model.to(DEVICE)
    prompts = [[5, 9, 11, 30], [40, 7]]
    config = GenerationConfig(
        max_new_tokens=12, do_sample=False, pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    drawn = complete(model, prompts, 2, config)
    for prompt, (one, two) in zip(prompts, drawn, strict=True):
        ids = torch.tensor([prompt], device=DEVICE)
        expected = model.generate(
            ids, attention_mask=torch.ones_like(ids), generation_config=config
        )
        assert one == two == expected[0, len(prompt) :].tolist()
