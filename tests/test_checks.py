"""What `policy_loss` says of inputs that are not what they should be, and of none that are."""

import pytest
import torch

import maspo

OLD = torch.tensor([[0.5, 0.01, 0.9], [0.9, 0.3, 0.2]]).log()
NEW = OLD - 0.1
MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])


def loss(log_probs=NEW, old=OLD, mask=MASK, objective="grpo", **more):
    return maspo.policy_loss(
        log_probs, old, torch.tensor([1.0, -1.0]), mask, objective=objective, **more
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"log_probs": NEW.exp()}, "^log_probs must be .*all lie between 0 and 1.*logarithms"),
        ({"old": OLD.exp()}, "^old_log_probs must be .*all lie between 0 and 1.*logarithms"),
        ({"log_probs": -NEW}, "^log_probs must be .*at most 0, and one is 4.7.*sign"),
        ({"old": -OLD}, "^old_log_probs must be .*at most 0, and one is 4.6.*sign"),
        ({"log_probs": NEW + 20 * (NEW > -0.3)}, "^log_probs must be .* one is 19.7.*log_softmax"),
        ({"log_probs": torch.tensor([[5, 9, 2], [1, 7, 7]])}, "not int64 numbers.*token ids"),
        ({"old": torch.zeros(2, 3, dtype=torch.int32)}, "^old_log_probs .*not int32"),
        (
            {"kl": maspo.KL(), "ref_log_probs": OLD.exp()},
            "^ref_log_probs must be .*all lie between 0 and 1",
        ),
        ({"mask": MASK * 0.5}, "mask must be bool, or 0 and 1, and holds 0.5"),
        ({"mask": MASK * 2}, "mask must be bool, or 0 and 1, and holds 2"),
        ({"mask": MASK - 100}, "holds -99"),
        ({"objective": maspo.MASPO}, "objective is the class MASPO; give a name such as 'maspo'"),
        ({"objective": {"name": "maspo"}}, r"maspo.make_objective\(\*\*settings\) makes a value"),
        ({"objective": 3}, "objective must be a name such as 'maspo'.*, not 3"),
        ({"objective": "mapso"}, "unknown objective 'mapso'; did you mean 'maspo'"),
    ],
)
def test_what_is_wrong_is_said(given, message):
    with pytest.raises(maspo.InputError, match=message):
        loss(**given)


HALF = (NEW / 8).to(torch.bfloat16)
FINE = {
    "certain tokens": {"log_probs": torch.zeros(2, 3), "old": torch.zeros(2, 3)},
    "rounding above 0": {"log_probs": torch.full((2, 3), 1e-6), "old": torch.full((2, 3), 1e-7)},
    "coarse rounding": {"log_probs": torch.full((2, 3), 0.25).bfloat16(), "old": OLD},
    "half precision": {"log_probs": HALF, "old": HALF},
    "impossible tokens": {"log_probs": torch.full((2, 3), -torch.inf), "old": OLD},
    "NaN is for the caller to find": {"log_probs": torch.full((2, 3), torch.nan)},
    "rubbish under the mask": {
        "log_probs": NEW.masked_fill(MASK == 0, 7.0),
        "old": OLD.masked_fill(MASK == 0, torch.inf),
    },
    "no tokens": {"log_probs": -NEW, "old": -OLD, "mask": torch.zeros(2, 3)},
    "one probable token among others": {"log_probs": NEW.masked_fill(NEW > -0.3, 0.6)},
    "a bool mask": {"mask": MASK.bool()},
    "a float mask": {"mask": MASK.double()},
    "weights divided out of old ones": {"old": OLD - torch.tensor(0.05).log() * (OLD > -1)},
}


@pytest.mark.parametrize("name", FINE)
def test_what_can_happen_is_taken(name):
    loss(**FINE[name])


def test_an_empty_batch_is_taken():
    empty = torch.zeros(0, 3)
    result = maspo.policy_loss(empty, empty, torch.zeros(0), empty, objective="maspo")
    assert result.loss == 0
