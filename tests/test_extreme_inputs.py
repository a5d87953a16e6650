"""Whatever the tokens hold: no NaN and no infinity in loss, weights or gradient, for any objective."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

import maspo

FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
LOG_RATIOS = st.one_of(
    st.floats(-1e4, 1e4), st.floats(-1, 1), st.sampled_from([0.0, -1e4, 1e4, 20.0, -20.0])
)
LOG_PROBS = st.one_of(st.floats(-69.1, 0.0), st.sampled_from([0.0, -69.1, -1e-7]))
"""69.1 nats: a probability of 1e-30."""
ADVANTAGES = st.one_of(st.floats(-5, 5), st.sampled_from([0.0, 1e-8, -1e-8, 1.0, -1.0]))
ENTROPIES = st.floats(0, 12)
RUBBISH = st.sampled_from([float("nan"), float("inf"), float("-inf")])


@st.composite
def batches(draw):
    """Tokens of one dtype: what is under the mask is NaN or infinite."""
    rows, time = draw(st.integers(1, 4)), draw(st.integers(1, 6))

    def tensor(values):
        flat = draw(st.lists(values, min_size=rows * time, max_size=rows * time))
        return torch.tensor(flat, dtype=torch.float64).view(rows, time)

    mask = tensor(st.booleans()).bool()
    greater, drift, rubbish = tensor(LOG_PROBS), tensor(LOG_RATIOS), tensor(RUBBISH)
    values = {
        "log_probs": greater + drift.clamp(max=0),
        "old_log_probs": greater - drift.clamp(min=0),
        "advantages": tensor(ADVANTAGES),
        "entropies": tensor(ENTROPIES),
    }
    dtype = draw(st.sampled_from(FLOATS))
    given_ = {name: torch.where(mask, x, rubbish).to(dtype) for name, x in values.items()}
    return given_ | {"mask": mask, "groups": torch.arange(rows) // 2}


def loss_and_gradient(name, batch):
    """Run forward and backward."""
    leaf = batch["log_probs"].clone().requires_grad_()
    result = maspo.policy_loss(
        **batch | {"log_probs": leaf}, objective=name, reduction="token-mean"
    )
    result.loss.backward()
    assert leaf.grad is not None
    return result, leaf.grad


@pytest.mark.parametrize("name", maspo.OBJECTIVES)
@settings(max_examples=20, deadline=None, derandomize=True)
@given(batches())
def test_nothing_is_ever_nan_or_infinite(name, batch):
    dtype = batch["log_probs"].dtype
    wide = torch.promote_types(dtype, torch.float32)
    widened = {key: x.to(wide) if x.is_floating_point() else x for key, x in batch.items()}
    result, grad = loss_and_gradient(name, widened)
    for what in (result.loss, result.weights, grad):
        assert what.isfinite().all()
    assert (grad[~batch["mask"]] == 0).all()
    assert (result.weights[~batch["mask"]] == 0).all()
    # Half precision is that gradient, rounded. Where float16 cannot hold it, it overflows, as it
    # has to: gradient scalers look for the infinity.
    half, rounded = loss_and_gradient(name, batch)
    assert torch.equal(half.weights, result.weights)
    assert torch.equal(rounded, grad.to(dtype))
