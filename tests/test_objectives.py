"""Every objective against the plain-Python oracle, and the properties all of them share."""

import math
from dataclasses import replace

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import oracle
import pytest
import torch
from cases import ROWS, label
from hypothesis import given, settings

import maspo
from maspo import GRPO, MASPO, SAPO, make_objective
from maspo.core.batch import MAX_LOG_RATIO, TokenBatch
from maspo.core.objective import GatedObjective

each_row = pytest.mark.parametrize("row", ROWS, ids=label)


def each_row_that_is(*shared):
    """Every row that has the shared properties."""
    rows = [row for row in ROWS if not set(shared) & set(row.lacks)]
    return pytest.mark.parametrize("row", rows, ids=label)


each_gated_row = pytest.mark.parametrize(
    "row",
    [row for row in ROWS if isinstance(row.objective, GatedObjective) and not row.whole],
    ids=label,
)


def random_batch(seed, batch=6, time=9, spread=1.0, dtype=torch.float64):
    """Draw (log_probs, old_log_probs, advantages, mask) with ragged rows and one empty row."""
    g = torch.Generator().manual_seed(seed)
    old = -8 * torch.rand(batch, time, generator=g, dtype=torch.float64) ** 2
    log_probs = old + spread * torch.randn(batch, time, generator=g, dtype=torch.float64)
    over = 1.5 * log_probs.clamp(min=0)  # no probability is above 1; the ratio stays
    log_probs, old = log_probs - over, old - over
    advantages = torch.randn(batch, generator=g, dtype=torch.float64) * 2
    advantages[1] = 0.0
    lengths = torch.randint(1, time + 1, (batch,), generator=g)
    lengths[2] = 0
    mask = torch.arange(time) < lengths[:, None]
    return log_probs.to(dtype), old.to(dtype), advantages.to(dtype), mask


def entropies_for(log_probs):
    """Draw entropies from 0 to 3 nats, in 16ths, which every dtype holds."""
    g = torch.Generator().manual_seed(11)
    return (torch.randint(0, 48, log_probs.shape, generator=g) / 16).to(log_probs.dtype)


def groups_for(log_probs):
    """Put every other row into one group."""
    return torch.arange(len(log_probs)) % 2


def by_oracle(row, log_probs, old, advantages, mask):
    """Yield (b, t, J, slope) of every token, J and slope from the oracle."""
    if row.whole:
        yield from by_oracle_of_batches(row, log_probs, old, advantages, mask)
        return
    entropies = entropies_for(log_probs)
    for b, t in mask.nonzero().tolist():
        more = {}
        if "entropies" in row.objective.inputs:
            more = {"entropy": float(entropies[b, t]), "entropies": entropies[b][mask[b]].tolist()}
        if row.pooled:
            parts = log_probs[b][mask[b]].tolist(), old[b][mask[b]].tolist(), float(advantages[b])
            yield b, t, *oracle.sequence(row.token, *parts, **more, **row.settings)
        else:
            parts = float(log_probs[b, t]), float(old[b, t]), float(advantages[b])
            yield b, t, *row.token(*parts, **more, **row.settings)


def by_oracle_of_batches(row, log_probs, old, advantages, mask):
    """Do what `by_oracle` does with an oracle that takes the batch."""
    if advantages.dim() == 1:
        advantages = advantages[:, None].expand_as(log_probs)
    tokens = torch.stack([log_probs, old, advantages], dim=2)
    more = {"groups": groups_for(mask).tolist()} if "groups" in row.objective.inputs else {}
    batch = [x[m].tolist() for x, m in zip(tokens, mask, strict=True)]
    found = row.token(batch, **more, **row.settings)
    places = mask.nonzero().tolist()
    for place, result in zip(places, (x for row in found for x in row), strict=True):
        yield *place, *result


def loss_and_grad(objective, log_probs, old, advantages, mask, **more):
    """Run `policy_loss` and return it with the gradient by `log_probs`."""
    more.setdefault("entropies", entropies_for(log_probs))
    more.setdefault("groups", groups_for(log_probs))
    more.setdefault("reduction", "token-mean")
    log_probs = log_probs.clone().requires_grad_()
    result = maspo.policy_loss(log_probs, old, advantages, mask, objective=objective, **more)
    (grad,) = torch.autograd.grad(result.loss, log_probs)
    return replace(result, loss=result.loss.detach()), grad


@each_row
@pytest.mark.parametrize("seed", range(5))
def test_value_and_slope_equal_the_oracle(row, seed):
    log_probs, old, advantages, mask = random_batch(seed)
    result, grad = loss_and_grad(row.objective, log_probs, old, advantages, mask)
    n = int(mask.sum())
    value, slopes = 0.0, torch.zeros_like(grad)
    for b, t, j, slope in by_oracle(row, log_probs, old, advantages, mask):
        value -= j / n
        slopes[b, t] = -slope / n
    assert float(result.loss) == pytest.approx(value, rel=1e-12)
    torch.testing.assert_close(grad, slopes, rtol=1e-12, atol=0)
    if "scales" not in row.lacks:
        scaled = -result.weights * advantages[:, None] / n
        torch.testing.assert_close(grad, scaled, rtol=1e-12, atol=0)


@each_gated_row
def test_sequence_level_is_the_token_rule_on_mean_log_probs(row):
    batch = random_batch(7)
    row = row._replace(objective=replace(row.objective, level="sequence"), pooled=True)
    _, grad = loss_and_grad(row.objective, *batch, reduction="seq-mean-token-mean")
    lengths = batch[3].sum(1).tolist()
    rows = sum(length > 0 for length in lengths)
    for b, t, _, slope in by_oracle(row, *batch):
        assert float(grad[b, t]) == pytest.approx(-slope / (lengths[b] * rows), rel=1e-11)


@each_row_that_is("inert")
def test_on_policy_every_gate_is_inert(row):
    log_probs, _, advantages, mask = random_batch(3)
    result, grad = loss_and_grad(row.objective, log_probs, log_probs, advantages, mask)
    assert torch.equal(result.weights, mask.double())
    torch.testing.assert_close(grad, -(advantages[:, None] * mask) / mask.sum())


@each_row
@pytest.mark.parametrize("trash", [math.nan, math.inf, -math.inf])
def test_masked_slots_change_nothing_bitwise(row, trash):
    log_probs, old, advantages, mask = random_batch(4)
    tokens = advantages[:, None].expand_as(log_probs).clone()
    entropies = torch.rand_like(log_probs)
    clean = loss_and_grad(row.objective, log_probs, old, tokens, mask, entropies=entropies)
    spoiled = [x.masked_fill(~mask, trash) for x in (log_probs, old, tokens)]
    dirty = loss_and_grad(
        row.objective, *spoiled, mask.int(),
        entropies=entropies.masked_fill(~mask, trash),
        rollout_weights=torch.ones_like(old).masked_fill(~mask, trash),
    )  # fmt: skip
    assert torch.equal(clean[0].loss, dirty[0].loss)
    assert torch.equal(clean[0].weights, dirty[0].weights)
    assert torch.equal(clean[1], dirty[1])


@each_row
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32_bitwise(row, dtype):
    half = random_batch(5, dtype=dtype)
    single = [x.float() for x in half[:3]]
    low, low_grad = loss_and_grad(row.objective, *half)
    high, high_grad = loss_and_grad(row.objective, *single, half[3])
    assert torch.equal(low.loss, high.loss) and low.loss.dtype == torch.float32
    assert torch.equal(low_grad, high_grad.to(dtype))


@each_row
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_impossible_probabilities_give_finite_gradients(row, dtype):
    extremes = torch.tensor([-math.inf, math.log(1e-30), -1e4, -1e-3, 0.0])
    log_probs, old = (
        x.flatten()[None].to(dtype) for x in torch.meshgrid(extremes, extremes, indexing="ij")
    )
    mask = torch.ones_like(log_probs)
    objectives = [row.objective]
    if isinstance(row.objective, GatedObjective):
        objectives = [replace(row.objective, level=level) for level in ("token", "sequence")]
    for advantage in (-3.0, 0.0, 3.0):
        for objective in objectives:
            advantages = torch.tensor([advantage], dtype=dtype)
            result, grad = loss_and_grad(objective, log_probs, old, advantages, mask)
            assert result.weights.isfinite().all() and result.loss.isfinite()
            # A weight beyond float16's 65504 belongs to float16, not to the objective.
            assert grad.isfinite().all() or dtype == torch.float16


@pytest.mark.parametrize("objective", [MASPO(), make_objective("aspo", weight_cap=None)], ids=repr)
def test_no_gradient_for_a_token_whose_ratio_left_the_bounds(objective):
    old = torch.full((1, 2), -30.0)
    log_probs = old + torch.tensor([[MAX_LOG_RATIO - 0.1, MAX_LOG_RATIO + 0.1]])
    result, _ = loss_and_grad(objective, log_probs, old, -torch.ones(1), torch.ones(1, 2))
    assert result.weights[0, 0] > 1e8 and result.weights[0, 1] == 0


differentiable = [
    GRPO(), GRPO(cap=3.0), SAPO(),
    *(SAPO(tau_pos=0.6, shape=shape) for shape in ("sech2", "erf", "arctan", "softsign")),
    *(make_objective(name) for name in ("dac", "gpg", "dro", "gate_erf", "gate_arctan")),
    make_objective("gate_softsign"),
]  # fmt: skip


@pytest.mark.parametrize("objective", differentiable, ids=repr)
def test_gradcheck_where_the_gradient_is_that_of_the_value(objective):
    log_probs, old, advantages, mask = random_batch(8)
    assert torch.autograd.gradcheck(
        lambda x: (
            maspo.policy_loss(
                x, old, advantages, mask, objective=objective, reduction="token-mean"
            ).loss
        ),
        log_probs.requires_grad_(),
    )


def test_maspos_weight_is_the_slope_of_an_erf_surrogate():
    """J = (1 + σ√(π/2) erf((ρ-1)/σ√2)) A has the gradient that MASPO takes, gate and all."""
    old, advantage = math.log(0.3), 1.7
    width = oracle.maspo_width(old, advantage)

    def surrogate(l):
        x = (math.exp(l - old) - 1) / (width * math.sqrt(2))
        return (1 + width * math.sqrt(math.pi / 2) * math.erf(x)) * advantage

    for shift in (0.1, 0.5, 1.1):
        slope = (surrogate(old + shift + 1e-6) - surrogate(old + shift - 1e-6)) / 2e-6
        tokens = [torch.tensor([[x]], dtype=torch.float64) for x in (old + shift, old, advantage)]
        weights = maspo.policy_loss(*tokens, torch.ones(1, 1), objective="maspo").weights
        assert float(weights) * advantage == pytest.approx(slope, rel=1e-8)


finite_logs = hnp.arrays(np.float64, (3, 4), elements=st.floats(-12, -4))
shifts = hnp.arrays(np.float64, (3, 4), elements=st.floats(-4, 4))
signed = hnp.arrays(np.float64, (3,), elements=st.floats(-5, 5))


@each_row_that_is("bounded")
@settings(max_examples=40, deadline=None)
@given(old=finite_logs, shift=shifts, advantages=signed)
def test_gates_only_hold_back_and_only_on_their_side(row, old, shift, advantages):
    old, shift, advantages = (torch.from_numpy(x) for x in (old, shift, advantages))
    mask = torch.ones(3, 4)
    objective = row.objective
    weights = maspo.policy_loss(
        old + shift, old, advantages, mask, objective=objective, reduction="token-mean"
    ).weights
    moved = (old + shift) - old
    if getattr(objective, "level", "token") == "sequence":
        moved = moved.mean(1, keepdim=True).expand_as(moved)
    ratio = moved.exp()
    gate = weights / ratio
    assert ((gate >= 0) & (gate <= 1 + 1e-12)).all()
    untouched = objective.cap is None and "inert" not in row.lacks
    if isinstance(objective, GatedObjective) and not objective.two_sided and untouched:
        against = advantages[:, None] * (ratio - 1) <= 0
        torch.testing.assert_close(weights[against], ratio[against], rtol=1e-12, atol=0)


@settings(max_examples=50, deadline=None)
@given(old=finite_logs, advantages=signed, alpha=st.floats(0, 1))
def test_rarer_tokens_never_get_a_narrower_gate(old, advantages, alpha):
    rare = torch.from_numpy(old)
    objective = MASPO(alpha=alpha)
    widths = [
        objective.width(TokenBatch.clean(x, x, torch.from_numpy(advantages), torch.ones(3, 4)))
        for x in (rare, rare / 2)
    ]
    assert (widths[0] >= widths[1]).all()


@pytest.mark.parametrize(
    ("name", "soft", "slope", "value"),
    [
        # A = -2, π_old = 0.1, π = 0.8, cap 4. The value of a ratio objective stops at cap x A.
        ("grpo", False, 0.0, -8.0),
        ("grpo", True, -8.0, -8.0),
        ("gpg", False, 0.0, 0.0),
        ("gpg", True, -8.0, -8.0 * math.log(0.8)),
    ],
)
def test_a_token_beyond_the_cap_loses_its_weight_or_keeps_that_of_the_cap(name, soft, slope, value):
    log_probs = torch.tensor([[0.8]], dtype=torch.float64).log()
    old, advantages = torch.full_like(log_probs, math.log(0.1)), torch.full_like(log_probs, -2.0)
    objective = make_objective(name, cap=4.0, soft_cap=soft)
    mask = torch.ones(1, 1, dtype=torch.bool)
    result, grad = loss_and_grad(objective, log_probs, old, advantages, mask)
    assert (-result.loss.item(), -grad.item()) == pytest.approx((value, slope), rel=1e-12)


@pytest.mark.parametrize("name", [n for n, kind in maspo.OBJECTIVES.items() if kind.inputs])
def test_missing_inputs_are_an_error_that_names_them(name):
    ones = torch.ones(2, 3)
    (lacking,) = maspo.OBJECTIVES[name].inputs
    with pytest.raises(maspo.InputError, match=f"needs {lacking}, and none were given"):
        maspo.policy_loss(-ones, -ones, ones[:, 0], ones, objective=name)


def test_a_log_probability_carries_its_gradient_beyond_the_bounds_of_the_ratio():
    """verl's weights: the ratio is held at e^20 inside them, and the token is not silenced."""
    log_probs = torch.tensor([[-1.0, -60.0]], dtype=torch.float64)
    old, advantages = log_probs.flip(1), torch.ones(1, dtype=torch.float64)
    objective = make_objective("cispo", epsilon_high=1e12)
    result, _ = loss_and_grad(objective, log_probs, old, advantages, torch.ones(1, 2))
    assert result.weights.tolist() == [pytest.approx([math.exp(20), math.exp(-20)], rel=1e-14)]
    assert MASPO().terms(TokenBatch.clean(log_probs, old, advantages, torch.ones(1, 2))).weights[
        0
    ].tolist() == [0, 0]


@pytest.mark.parametrize("log_ratios", [[-21.0, 0.0], [0.0, 21.0], [-21.0, 21.0], [-20.0, 20.0]])
def test_what_is_intact_has_a_ratio_within_the_bounds(log_ratios):
    log_probs = torch.tensor([log_ratios])
    ones = torch.ones_like(log_probs)
    batch = TokenBatch.clean(log_probs, 0 * ones, ones, ones)
    assert batch.intact(ones).tolist() == [[float(abs(x) <= 20) for x in log_ratios]]
    nothing = ones[:0]
    empty = TokenBatch.clean(nothing, nothing, nothing, nothing)
    assert empty.intact(nothing).shape == (0, 2)


def test_the_ratio_is_held_at_the_bound_of_the_objective():
    old = torch.full((1, 3), -5.0, dtype=torch.float64)
    batch = TokenBatch.clean(old + torch.tensor([[1.5, 2.5, -2.5]]), old, torch.ones(1), old != 0)
    held = make_objective("cispo", epsilon_high=1e12, max_log_ratio=2.0).terms(batch).weights
    assert held[0].tolist() == pytest.approx([math.exp(x) for x in (1.5, 2.0, -2.0)], rel=1e-12)


def test_an_impossible_token_counts_as_1e5_nats():
    log_probs, ones = torch.tensor([[-math.inf, -1.0]]), torch.ones(1, 2)
    result, _ = loss_and_grad(make_objective("gpg"), log_probs, log_probs, ones, ones)
    assert result.loss == (100_000 + 1) / 2


@pytest.mark.parametrize(("q", "p", "a"), [(0.5, 1.0, 1.0), (0.99, 1.0, 1.0), (1.0, 0.5, -1.0)])
def test_dppos_divergence_is_finite_at_probability_1(q, p, a):
    """By verl's 1e-8, so that a token that came from or went to certainty is stopped too."""
    old, log_probs = (torch.tensor([[x]], dtype=torch.float64).log() for x in (q, p))
    batch = TokenBatch.clean(log_probs, old, torch.tensor([a]), torch.ones(1, 1))
    dppo = make_objective("dppo_kl")
    expected = q * math.log(q / p) + (1 - q) * math.log((1 - q + 1e-8) / (1 - p + 1e-8))
    assert float(dppo.divergence(batch)) == pytest.approx(expected, rel=1e-12)
    assert expected > 0.1 and dppo.terms(batch).weights.tolist() == [[0.0]]


def test_dppo_stops_a_token_whose_log_probability_was_rounded_to_above_0():
    log_probs, old = torch.tensor([[1e-6]]), torch.tensor([[-2.3]])
    batch = TokenBatch.clean(log_probs, old, torch.ones(1), torch.ones(1, 1))
    assert make_objective("dppo_kl").terms(batch).weights.tolist() == [[0.0]]


def test_dro_pulls_no_harder_beyond_the_bounds_and_its_value_says_so():
    def loss(x):
        old, zero = torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        return maspo.policy_loss(
            x, old, zero, old + 1, objective=make_objective("dro", beta=2.0)
        ).loss

    points = torch.tensor([[[-19.0]], [[-21.0]], [[-25.0]]], dtype=torch.float64).requires_grad_()
    slopes = [torch.autograd.grad(loss(x), points)[0].sum().item() for x in points]
    assert slopes == [pytest.approx(2 * -d) for d in (19, 20, 20)]
    assert [loss(x).item() for x in points] == [pytest.approx(x) for x in (361, 440, 600)]


def test_dacs_lower_bound_stays_a_half_where_the_probability_underflows():
    old = torch.tensor([[-900.0, -900.0, -900.0]], dtype=torch.float64)
    log_probs = old + torch.tensor([[0.45, 0.55, 9.9]], dtype=torch.float64).log()
    batch = TokenBatch.clean(log_probs, old, -torch.ones(1), torch.ones(1, 3))
    assert (make_objective("dac").terms(batch).weights > 0).tolist() == [[False, True, True]]


single = [name for name, kind in maspo.OBJECTIVES.items() if not kind.couples_batch]


@pytest.mark.parametrize("name", single)
def test_mass_aware_means_that_probability_matters_besides_the_ratio(name):
    """Weights after both policies lost the same factor of probability, at 15 settings of the rest."""
    log_probs, old, advantages, mask = random_batch(9, batch=15, time=20)
    log_probs = log_probs.clamp(max=-0.01)
    weights = [
        loss_and_grad(maspo.OBJECTIVES[name](), log_probs - x, old - x, advantages, mask)[0].weights
        for x in (0.0, 2.0)
    ]
    same = torch.allclose(*weights, rtol=1e-9)
    assert same != maspo.OBJECTIVES[name].mass_aware


def test_bad_shapes_are_refused():
    ones = torch.ones(2, 3)
    with pytest.raises(ValueError, match="log_probs must be"):
        maspo.policy_loss(ones[0], ones[0], ones[0], ones[0], objective="grpo")
    with pytest.raises(ValueError, match=r"advantages must be \[2, 3\], not \[3\]"):
        maspo.policy_loss(ones, ones, torch.ones(3), ones, objective="grpo")
    with pytest.raises(ValueError, match=r"groups must be \[2\], not \[3\]"):
        maspo.policy_loss(ones, ones, ones[:, 0], ones, objective="real", groups=torch.arange(3))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("mapso", {}, "did you mean 'maspo'"),
        ("maspo", {"alhpa": 0.3}, "did you mean 'alpha'"),
        ("maspo", {"sigma_base": -1}, r"sigma_base \(σ_base\) of MASPO must be > 0, not -1"),
        ("maspo", {"alpha": 1.5}, "must be 0 to 1"),
        ("maspo", {"alpha": math.nan}, "must be 0 to 1"),
        ("maspo", {"alpha": "0.3"}, "must be 0 to 1"),
        ("maspo", {"sigma_high": 0.5}, "must not be below sigma_base"),
        ("maspo", {"adv_low": 11.0}, "must not exceed adv_high"),
        ("maspo", {"shape": "sech2"}, "must be gaussian or hard"),
        ("grpo", {"cap": 1.0}, "must be > 1, or none"),
        ("sapo", {"two_sided": 1}, "must be true or false"),
        ("dac", {"epsilon_low": 0}, "must be > 0"),
        ("ce_gppo", {"shape": "hard"}, "must be constant"),
        ("entropy_advantage", {"kappa": 0.5}, "must be >= 1"),
        ("aspo", {"epsilon_rare": 2}, "must be 0 to 1"),
    ],
)
def test_bad_hyperparameters_are_refused_in_one_sentence(name, settings, message):
    with pytest.raises(maspo.InputError, match=message):
        maspo.make_objective(name, **settings)


def test_one_bound_without_the_other_is_allowed():
    assert MASPO(adv_low=None, adv_high=0.5).adv_high == 0.5


def test_an_objective_prints_what_it_changes():
    assert str(MASPO()) == "MASPO()"
    assert str(MASPO(alpha=0.5, cap=3.0)) == "MASPO(cap=3.0, alpha=0.5)"


def test_the_outline_names_the_cap_as_a_side():
    assert maspo.DualClip().outline().side == "A (ρ - 1) > 0, and A < 0 with ρ > 3"


def test_the_outline_follows_the_fields():
    found = maspo.FIPO(shape="sech2", two_sided=True, cap=None, level="sequence").outline()
    assert (found.level, found.gate, found.side) == ("sequence", "sech2, times f", "both")


def test_advice_of_the_release_is_given():
    assert MASPO().advice() == []
    assert "instability" in MASPO(alpha=0.8).advice()[0]
    for alpha in (0.1, 0.6):
        assert "outside the 0.3 to 0.5" in MASPO(alpha=alpha).advice()[0]
    for parameters in (1_000_000_000, 1_700_000_000, 2_999_000_000):
        assert "1.5B" in MASPO().advice(parameters)[0]
    assert MASPO().advice(999_000_000) == MASPO().advice(3_000_000_000) == []
    assert MASPO(alpha=0.5).advice(parameters=1_700_000_000) == []


def test_every_objective_has_a_row_and_a_source():
    for kind in maspo.OBJECTIVES.values():
        assert any(type(row.objective) is kind for row in ROWS)
        assert f"arXiv:{kind.arxiv}" in (kind.__doc__ or "")
