"""Estimators of advantages against plain Python, numbers worked out by hand, and their identities."""

import math

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import oracle_axes
import pytest
import torch
from hypothesis import given, settings

import maspo
from maspo import ADVANTAGES, RewardHistory, estimate_advantages, live_groups, overlong_penalty
from maspo.core.advantages import (
    CentredAdvantages,
    GroupAdvantages,
    LeaveOneOutAdvantages,
    SmoothAdvantages,
    WhitenedAdvantages,
)

SIMPLE = ["group", "center", "loo", "batch", "gpg"]
DEAD = 0.1  # seven of these have a mean that is not 0.1, in float32 and in float64


def rewards_of(seed, prompts=4, samples=7, dtype=torch.float64):
    """Draw rewards in which the second group is dead."""
    g = torch.Generator().manual_seed(seed)
    rewards = torch.randn(prompts, samples, generator=g, dtype=torch.float64)
    rewards[1] = DEAD
    return rewards.to(dtype)


def lengths_of(rewards):
    """Draw lengths from 1 to 6 tokens."""
    g = torch.Generator().manual_seed(5)
    return torch.randint(1, 7, rewards.shape, generator=g)


def extras(name, rewards):
    """Give an estimator what it needs besides rewards."""
    inputs = ADVANTAGES[name].inputs
    more = {"lengths": lengths_of(rewards)} if "lengths" in inputs else {}
    return more | ({"history": RewardHistory.empty(len(rewards))} if "history" in inputs else {})


def close(found, expected, rtol=1e-12):
    torch.testing.assert_close(
        found, torch.tensor(expected, dtype=torch.float64), rtol=rtol, atol=1e-14
    )


@pytest.mark.parametrize("name", SIMPLE)
@pytest.mark.parametrize("samples", [2, 7])
@pytest.mark.parametrize("seed", range(3))
def test_equal_the_oracle(name, samples, seed):
    rewards = rewards_of(seed, samples=samples)
    close(estimate_advantages(rewards, name), getattr(oracle_axes, name)(rewards.tolist()))


@pytest.mark.parametrize("constants", [{"epsilon": 0.5}, {"ddof": 0}, {"epsilon": 1e-4, "ddof": 1}])
@pytest.mark.parametrize("name", ["group", "batch"])
def test_constants_are_what_they_say(name, constants):
    rewards = rewards_of(9)
    expected = getattr(oracle_axes, name)(rewards.tolist(), **constants)
    close(estimate_advantages(rewards, ADVANTAGES[name](**constants)), expected)


def test_by_hand():
    rewards = torch.tensor([[1.0, 0.0, 0.0, 1.0], [2.0, 2.0, 2.0, 2.0]], dtype=torch.float64)
    zeros = [0.0] * 4
    close(estimate_advantages(rewards, "center"), [[0.5, -0.5, -0.5, 0.5], zeros])
    close(estimate_advantages(rewards, "loo"), [[2 / 3, -2 / 3, -2 / 3, 2 / 3], zeros])
    close(estimate_advantages(rewards, "gpg"), [[1.0, -1.0, -1.0, 1.0], zeros])
    one = 0.5 / (1 / math.sqrt(3) + 1e-6)
    close(estimate_advantages(rewards), [[one, -one, -one, one], zeros])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", [*SIMPLE, "sas"])
def test_a_dead_group_gets_exactly_nothing(name, dtype):
    rewards = rewards_of(0, dtype=dtype)
    assert rewards[1].mean() != rewards[1, 0], "the case must be one where the mean is rounded"
    found = estimate_advantages(rewards, name, **extras(name, rewards))
    assert found.dtype == dtype
    assert (found[1] == 0).all() and (found[0] != 0).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ADVANTAGES)
@pytest.mark.parametrize("constants", [{}, {"epsilon": 0.0}])
def test_nothing_but_dead_groups_and_groups_of_one_give_zeros(name, constants):
    if constants and not hasattr(ADVANTAGES[name], "epsilon"):
        return
    estimator = ADVANTAGES[name](**constants)
    for shape in ((3, 4), (3, 1), (1, 1)):
        rewards = torch.full(shape, DEAD)
        found = estimate_advantages(rewards, estimator, **extras(name, rewards))
        assert torch.equal(found, torch.zeros(shape))
    spread = torch.tensor([[1.0], [2.0], [5.0]])
    found = estimate_advantages(spread, estimator, **extras(name, spread))
    assert torch.equal(found, torch.zeros(3, 1))


@pytest.mark.parametrize("name", ADVANTAGES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int64])
def test_narrow_rewards_are_computed_in_float32(name, dtype):
    rewards = torch.tensor([[1, 0, 3], [2, 2, 0]])
    more = extras(name, rewards)
    found = estimate_advantages(rewards.to(dtype), name, **more)
    assert found.dtype == torch.float32
    assert torch.equal(found, estimate_advantages(rewards.float(), name, **more))


@pytest.mark.parametrize("weighting", ["token", "sequence"])
def test_whitening_counts_tokens_or_samples(weighting):
    rewards = rewards_of(2)
    lengths = lengths_of(rewards)
    counted = lengths if weighting == "token" else torch.ones_like(lengths)
    estimator = WhitenedAdvantages(weighting=weighting)
    found = estimate_advantages(rewards, estimator, lengths=lengths)
    close(found, oracle_axes.whiten(rewards.tolist(), counted.tolist()))
    # A dead group is shifted with the batch: by the mean over tokens, and by 0 over samples.
    assert (found[1] == found[1, 0]).all()
    assert abs(float(found[1, 0])) > 0.01 if weighting == "token" else found[1, 0].abs() < 1e-12


def test_whitening_ignores_samples_without_tokens():
    rewards = torch.tensor([[1.0, 0.0, 5.0]], dtype=torch.float64)
    lengths = torch.tensor([[2, 3, 0]])
    for weighting, count in (("token", [2, 3, 0]), ("sequence", [1, 1, 0])):
        found = estimate_advantages(
            rewards, WhitenedAdvantages(weighting=weighting), lengths=lengths
        )
        close(found, oracle_axes.whiten([[1.0, 0.0, 5.0]], [count]))


@pytest.mark.parametrize("lengths", [[1, 0], [0, 0]])
def test_whitening_fewer_than_two_tokens_gives_zeros(lengths):
    found = estimate_advantages(
        torch.tensor([[1.0, 0.0]]), "whiten", lengths=torch.tensor([lengths])
    )
    assert torch.equal(found, torch.zeros(1, 2))


def test_smooth_advantages_remember_each_prompt():
    """Four visits of three prompts, in changing order and with changing group sizes."""
    seen = [[], [], []]
    history = RewardHistory.empty(3)
    g = torch.Generator().manual_seed(1)
    for visit, samples in enumerate((4, 6, 4, 3)):
        prompts = torch.randperm(3, generator=g)[: 3 if visit % 2 == 0 else 2]
        rewards = torch.randn(len(prompts), samples, generator=g, dtype=torch.float64)
        past = history.rows(prompts)
        found = estimate_advantages(rewards, "sas", history=past)
        for row, prompt in enumerate(prompts.tolist()):
            seen[prompt].append(rewards[row].tolist())
            close(found[row], oracle_axes.sas(seen[prompt]), rtol=1e-10)
        before = history.visits.clone()
        history = history.put(prompts, past.add(rewards))
        assert torch.equal(history.visits - before, torch.bincount(prompts, minlength=3).double())


def test_smooth_advantages_of_the_first_visit_are_those_of_the_group():
    rewards = rewards_of(3)
    for ddof in (0, 1):
        history = RewardHistory.empty(4)
        first = estimate_advantages(rewards, SmoothAdvantages(ddof=ddof), history=history)
        torch.testing.assert_close(first, estimate_advantages(rewards, GroupAdvantages(ddof=ddof)))


def test_a_dead_group_learns_from_its_past_and_only_from_it():
    alive, dead = torch.tensor([[0.0, 1.0]]), torch.full((1, 3), DEAD)
    past = RewardHistory.empty(1).add(alive)
    found = estimate_advantages(dead.double(), "sas", history=past)
    close(found[0], oracle_axes.sas([[0.0, 1.0], dead.double()[0].tolist()]))
    assert (found < 0).all()
    past = RewardHistory.empty(1, dtype=torch.float32)
    for _ in range(5):
        assert (estimate_advantages(dead, "sas", history=past) == 0).all()
        past = past.add(dead)


finite_rewards = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(2, 6)),
    elements=st.floats(-10, 10, width=16),
)


@settings(max_examples=60, deadline=None)
@given(rewards=finite_rewards, seed=st.integers(0, 9))
def test_order_does_not_matter_and_groups_sum_to_zero(rewards, seed):
    rewards = torch.from_numpy(rewards)
    g = torch.Generator().manual_seed(seed)
    prompts = torch.randperm(len(rewards), generator=g)
    samples = torch.randperm(rewards.shape[1], generator=g)
    for name in [*SIMPLE, "sas", "whiten"]:
        more = extras(name, rewards)
        found = estimate_advantages(rewards, name, **more)
        if "lengths" in more:
            more["lengths"] = more["lengths"][prompts][:, samples]
        again = estimate_advantages(rewards[prompts][:, samples], name, **more)
        torch.testing.assert_close(again, found[prompts][:, samples], rtol=1e-9, atol=1e-9)
        if name != "whiten":
            scale = float(found.abs().max())
            assert found.sum(1).abs().max() <= 1e-9 * max(scale, 1)


@settings(max_examples=60, deadline=None)
@given(rewards=finite_rewards, shift=st.integers(-4, 4), factor=st.sampled_from([0.5, 2.0, 8.0]))
def test_shifts_do_nothing_and_scales_do_what_they_should(rewards, shift, factor):
    rewards = torch.from_numpy(rewards)
    for name in SIMPLE:
        found = estimate_advantages(rewards, name)
        shifted = estimate_advantages(rewards + shift, name)
        torch.testing.assert_close(shifted, found, rtol=1e-6, atol=1e-9)
    for name in ("center", "loo", "gpg"):
        scaled = estimate_advantages(rewards * factor, name)
        torch.testing.assert_close(scaled, estimate_advantages(rewards, name) * factor)
    n = rewards.shape[1]
    loo, centred = (estimate_advantages(rewards, name) for name in ("loo", "center"))
    torch.testing.assert_close(loo, centred * n / (n - 1), rtol=1e-12, atol=0)


def test_live_groups_by_hand():
    # The square of the last reward is 0, so a standard deviation would not see it.
    rewards = torch.tensor([[1.0, 1.0, 0.0], [DEAD] * 3, [0.0, 0.0, 1e-200]], dtype=torch.float64)
    assert live_groups(rewards).tolist() == [True, False, True]
    assert live_groups(torch.tensor([[3.0], [4.0]])).tolist() == [False, False]


def test_overlong_penalty_by_hand():
    lengths = torch.tensor([[0, 16384, 16385], [18432, 20480, 30000]])
    found = overlong_penalty(lengths, 20480, cache=4096)
    assert found.tolist() == [[0.0, 0.0, -1 / 4096], [-0.5, -1.0, -1.0]]
    assert overlong_penalty(lengths, 20480, cache=4096, factor=3.0)[1].tolist() == [
        -1.5,
        -3.0,
        -3.0,
    ]
    for cache, factor, message in ((0, 1.0, "cache"), (20481, 1.0, "cache"), (5, -1.0, "factor")):
        with pytest.raises(maspo.InputError, match=message):
            overlong_penalty(lengths, 20480, cache=cache, factor=factor)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_rewards_that_are_not_finite_are_refused(bad):
    rewards = torch.tensor([[0.0, 1.0], [1.0, bad]])
    for use in (live_groups, estimate_advantages, RewardHistory.empty(2).add):
        with pytest.raises(maspo.InputError, match=f"sample 1 of prompt 1 is {bad}"):
            use(rewards)


def test_bad_input_is_refused_in_one_sentence():
    rewards = torch.ones(2, 3)
    for name, more, message in (
        ("gruop", {}, "did you mean 'group'"),
        ("whiten", {}, "WhitenedAdvantages needs lengths"),
        ("sas", {}, "SmoothAdvantages needs history"),
        ("group", {"lengths": rewards}, "GroupAdvantages has no use for lengths"),
    ):
        with pytest.raises(maspo.InputError, match=message):
            estimate_advantages(rewards, name, **more)
    with pytest.raises(maspo.InputError, match=r"epsilon \(e\) of GroupAdvantages must be >= 0"):
        GroupAdvantages(epsilon=-1.0)
    for ddof in (-1, 2):
        with pytest.raises(maspo.InputError, match=f"ddof .* must be 0 to 1, not {ddof}"):
            GroupAdvantages(ddof=ddof)
    for bad in (torch.ones(3), torch.ones(2, 0), torch.ones(1, 2, 3)):
        with pytest.raises(ValueError, match="rewards must be"):
            estimate_advantages(bad)
    with pytest.raises(ValueError, match="lengths must be"):
        estimate_advantages(rewards, "whiten", lengths=torch.ones(2, 1))
    with pytest.raises(ValueError, match="history must have 2 rows"):
        estimate_advantages(rewards, "sas", history=RewardHistory.empty(3))


VERL = {
    "adv_grpo_std": GroupAdvantages(epsilon=1e-6),
    "adv_grpo_nostd": CentredAdvantages(),
    "adv_rloo": LeaveOneOutAdvantages(),
    "adv_reinforce_plus_plus_baseline": WhitenedAdvantages(),
}


@pytest.mark.parametrize("key", VERL)
def test_equal_verls(shared, key):
    golden = np.load(shared / "golden" / "golden.npz")
    seen = 0.0
    for case in [*map(str, range(12)), "grid"]:
        rewards, mask = (torch.from_numpy(golden[f"in/{case}/{k}"]) for k in ("rewards", "mask"))
        groups = rewards.view(-1, int(golden[f"in/{case}/group_size"]))
        more = {"lengths": mask.sum(1).view_as(groups)} if "lengths" in VERL[key].inputs else {}
        found = estimate_advantages(groups, VERL[key], **more).flatten()[:, None] * mask
        expected = torch.from_numpy(golden[f"out/verl091/{key}/per-token/{case}/value"])
        # verl whitens with sums over count + 1e-8, which moves mean and variance by this share.
        share = 1e-8 / float(mask.sum()) if more else 1e-12
        torch.testing.assert_close(
            found, expected, rtol=share, atol=share, msg=lambda m, case=case: f"{case}: {m}"
        )
        seen += float(expected.abs().sum())
    assert seen > 100


def test_the_axes_that_an_objective_names_exist():
    for name, kind in maspo.OBJECTIVES.items():
        assert kind.advantages is None or kind.advantages in ADVANTAGES, name
        assert kind.reduction is None or kind.reduction in maspo.REDUCTIONS, name


def test_every_estimator_says_where_it_comes_from():
    for kind in ADVANTAGES.values():
        assert "Source: arXiv:" in (kind.__doc__ or "")


# Samples without a score


@pytest.mark.parametrize("name", [*SIMPLE, "whiten"])
@pytest.mark.parametrize("seed", range(3))
def test_samples_without_a_score_are_left_out(name, seed):
    """As if the batch did not hold them: the oracle gets groups of unequal sizes."""
    rewards = rewards_of(seed)
    rewards[1] = 0.5  # dead, for the oracle's means too
    g = torch.Generator().manual_seed(seed)
    scored = torch.rand(rewards.shape, generator=g) < 0.7
    scored[:, :2], scored[3, 2:] = True, False
    lengths = lengths_of(rewards)
    more = {"lengths": lengths} if name == "whiten" else {}
    kept = [row[keep].tolist() for row, keep in zip(rewards, scored, strict=True)]
    counts = [row[keep].tolist() for row, keep in zip(lengths, scored, strict=True)]
    expected = (
        oracle_axes.whiten(kept, counts) if name == "whiten" else getattr(oracle_axes, name)(kept)
    )
    found = estimate_advantages(rewards.masked_fill(~scored, math.nan), name, scored=scored, **more)
    close(found[scored], [a for row in expected for a in row])
    assert (found[~scored] == 0).all()


def test_a_history_takes_scored_rewards_alone():
    rewards = rewards_of(0)
    scored = torch.ones_like(rewards).bool()
    scored[0, 0] = False
    with pytest.raises(maspo.InputError, match="remembers all rewards"):
        estimate_advantages(rewards, "sas", history=RewardHistory.empty(4), scored=scored)
