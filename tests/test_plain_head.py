"""TRL 1.15's fused head in plain torch gives the values of its kernels, and their gradients."""

import math

import pytest
import torch

pytest.importorskip("trl")

from trl.trainer import utils

from maspo.engines.supported import Supported
from maspo.engines.trl import plain_head
from maspo.engines.trl.plain_head import PlainHead

EVERY = ("entropy", "log_sum_sq_probs", "mean_logits", "is_top1")


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.manual_seed(sum(shape)))


def by_hand(logits, target):
    """Give the five values of one position in plain Python."""
    z = math.log(sum(map(math.exp, logits)))
    log_p = [x - z for x in logits]
    entropy = -sum(math.exp(x) * x for x in log_p)
    squares = math.log(sum(math.exp(2 * x) for x in log_p))
    return log_p[target], entropy, squares, sum(logits) / len(logits), max(logits) == logits[target]


@pytest.mark.parametrize("softcap", [None, 3.0])
def test_values_are_those_of_the_formula(monkeypatch, softcap):
    monkeypatch.setattr(plain_head, "ROWS", 3)  # the last chunk is shorter
    hidden, weight, bias = drawn(5, 4), drawn(7, 4), drawn(7)
    targets = torch.tensor([0, 6, 3, 2, 2])
    values = PlainHead.apply(hidden, weight, bias, targets, 0.7, 99, softcap, 1.5, EVERY)
    for row, target in enumerate(targets.tolist()):
        logits = [
            1.5 * (sum(h * w for h, w in zip(hidden[row].tolist(), one, strict=True)) + b)
            for one, b in zip(weight.tolist(), bias.tolist(), strict=True)
        ]
        capped = logits if softcap is None else [softcap * math.tanh(x / softcap) for x in logits]
        expected = by_hand([x / 0.7 for x in capped], target)
        found = [one[row].item() for one in values]
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_gradients_are_right_and_what_is_not_asked_for_is_none():
    hidden, weight, bias = (one.requires_grad_() for one in (drawn(4, 3), drawn(5, 3), drawn(5)))
    targets = torch.tensor([4, 0, 1, 1])

    def outputs(*leaves):
        return PlainHead.apply(*leaves, targets, 0.8, 99, outputs=("entropy",))[:2]

    assert torch.autograd.gradcheck(outputs, (hidden, weight, bias))
    assert (
        PlainHead.apply(hidden, weight, bias, targets, 0.8, 99, outputs=("entropy",))[2:]
        == (None,) * 3
    )


def test_it_stands_in_where_kernels_alone_would_score_and_no_gpu_is(monkeypatch):
    monkeypatch.setattr(utils, "_ChunkedLogProbFunction", None, raising=False)
    for version, gpu, taken in [
        ("1.16.0", False, False),
        ("1.15.0", True, False),
        ("1.15.2", False, True),
    ]:
        monkeypatch.setattr(Supported, "installed", lambda self, version=version: version)
        monkeypatch.setattr(plain_head, "_has_accelerator", lambda gpu=gpu: gpu)
        plain_head.score_without_triton()
        assert (utils._ChunkedLogProbFunction is PlainHead) == taken
