"""What the objectives of whole sequences and whole batches have besides what all share."""

import math
import threading
from dataclasses import fields, replace

import numpy as np
import oracle_sequence
import pytest
import torch
from scipy.stats import chisquare
from test_objectives import loss_and_grad, random_batch

import maspo
from maspo import make_objective
from maspo.core.batch import TokenBatch
from maspo.core.draw import GOLDEN, mixed, token_keys
from maspo.objectives.covariance import covariances

GOLDEN_CASES = [*map(str, range(12)), "grid"]
SEQUENCES = "gspo", "gspo_token", "luspo", "gmpo", "vespo"
COUPLED = [name for name, kind in maspo.OBJECTIVES.items() if kind.couples_batch]


@pytest.fixture(scope="module")
def golden(shared):
    """Open the stored vectors."""
    return np.load(shared / "golden" / "golden.npz")


def stored(golden, reference, case):
    """Give the inputs of a stored case, and a function to its outputs."""
    names = "log_prob", "old_log_prob", "advantages", "mask", "rollout_is_weights"
    given = {name: torch.from_numpy(golden[f"in/{case}/{name}"]) for name in names}
    return given, lambda name: torch.from_numpy(golden[f"out/{reference}/{case}/{name}"])


def clean(log_probs, old, advantages, mask):
    """Make the batch an objective sees."""
    return TokenBatch.clean(log_probs, old, advantages, mask)


def as_lists(log_probs, old, advantages, mask):
    """Write a batch as the oracles take it."""
    advantages = advantages.reshape(len(advantages), -1).expand_as(log_probs)
    rows = zip(torch.stack([log_probs, old, advantages], 2), mask.bool(), strict=True)
    return [row[live].tolist() for row, live in rows]


def weights_of(objective, batch, **more):
    """Run the loss for its weights."""
    return maspo.policy_loss(*batch, objective=objective, **more).weights


# Advantages of tokens


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gspo", {"epsilon_low": 0.1, "epsilon_high": 0.2}),
        ("gspo", {"epsilon_low": 0.1, "epsilon_high": 0.2, "cap": 1.2}),
        ("gspo_token", {"epsilon_low": 0.1, "epsilon_high": 0.2, "cap": 1.2}),
        ("gmpo", {"cap": 1.2}),
        ("vespo", {}),
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_advantages_that_differ_along_a_sequence(name, settings, seed):
    log_probs, old, _, mask = random_batch(seed)
    g = torch.Generator().manual_seed(seed)
    advantages = torch.randn(log_probs.shape, generator=g, dtype=torch.float64) + 0.3
    result, grad = loss_and_grad(make_objective(name, **settings), log_probs, old, advantages, mask)
    batch = as_lists(log_probs, old, advantages, mask)
    found = [x for row in getattr(oracle_sequence, name)(batch, **settings) for x in row]
    values, slopes = torch.tensor(found, dtype=torch.float64).T
    assert float(result.loss) == pytest.approx(float(-values.mean()), rel=1e-12)
    torch.testing.assert_close(grad[mask], -slopes / len(slopes), rtol=1e-10, atol=1e-15)


# Relations and limits


def test_luspo_is_gspo_times_the_length():
    batch = random_batch(1)
    narrow = {"epsilon_low": 0.05, "epsilon_high": 0.1}
    one = loss_and_grad(make_objective("gspo", **narrow), *batch, reduction="seq-mean-token-mean")
    many = loss_and_grad(make_objective("luspo", **narrow), *batch, reduction="seq-mean-token-sum")
    torch.testing.assert_close(many[1], one[1] * batch[3].sum(1, keepdim=True))
    assert maspo.OBJECTIVES["luspo"].reduction == "seq-mean-token-sum"


@pytest.mark.parametrize(
    "objective",
    [
        make_objective("gspo", epsilon_low=0.1, epsilon_high=0.2),
        make_objective("gmpo"),
        make_objective("gmpo", cap=1.1),
        make_objective("kl_cov", fraction=0.3),
    ],
    ids=str,
)
def test_gradient_is_that_of_the_mean_over_sequences(objective):
    log_probs, old, advantages, mask = random_batch(8)
    reduction = "token-mean" if objective.couples_batch else "seq-mean-token-mean"

    def loss(x):
        return maspo.policy_loss(
            x, old, advantages, mask, objective=objective, reduction=reduction
        ).loss

    assert torch.autograd.gradcheck(loss, log_probs.requires_grad_())


@pytest.mark.parametrize(
    ("advantage", "peak", "height"), [(1.0, 2 / 3, 4 / 9 * math.e), (-1.0, 3 / 2, 27 / 8 / math.e)]
)
def test_vespos_weight_peaks_beside_the_old_policy(advantage, peak, height):
    log_w = torch.linspace(-2, 2, 4001, dtype=torch.float64)[:, None]
    advantages = torch.full((4001,), advantage, dtype=torch.float64)
    weights = weights_of("vespo", (log_w, log_w * 0, advantages, log_w == log_w))
    assert float(log_w[weights.argmax()].exp()) == pytest.approx(peak, rel=1e-3)
    assert float(weights.max()) == pytest.approx(height, rel=1e-6)


def test_vespo_forgets_long_sequences_that_drift():
    drift = torch.full((2, 1000), 0.01, dtype=torch.float64) * torch.tensor([[1.0], [-1.0]])
    mask = torch.ones(2, 1000)
    weights = weights_of("vespo", (drift - 1, drift * 0 - 1, torch.ones(2), mask))
    assert weights.max() < 1e-7
    one_percent = weights_of("gspo_token", (drift - 1, drift * 0 - 1, -torch.ones(2), mask))
    assert one_percent[0, 0] == pytest.approx(math.exp(0.01))


def test_vespo_holds_tokens_and_sequences_at_the_bound():
    drift = torch.tensor([[30.0, -25.0, 0.0], [1.5, 1.5, 1.5]], dtype=torch.float64)
    old = torch.full_like(drift, -40.0)
    batch = old + drift, old, torch.ones(2), torch.ones(2, 3)
    assert weights_of("vespo", batch)[0].tolist() == [1.0] * 3  # 30 and -25 count as 20 and -20
    weights = weights_of(make_objective("vespo", max_log_ratio=2.0), batch)
    w = math.exp(2.0)  # and not of 4.5
    assert weights[1].tolist() == pytest.approx([w**2 * math.exp(3 - 3 * w)] * 3, rel=1e-12)


def test_the_cap_of_vespo_bounds_the_ratio_of_the_sequence():
    drift = torch.tensor([[0.3, 0.3, 0.3], [0.9, -0.6, 0.0]], dtype=torch.float64)
    batch = drift - 2, drift * 0 - 2, -torch.ones(2), torch.ones(2, 3)
    weights = weights_of(make_objective("vespo", cap=2.0), batch)  # W is 2.46 and 1.35
    assert (weights[0] == 0).all() and (weights[1] > 1).all()


@pytest.mark.parametrize("name", ["gspo", "gspo_token", "luspo", "gmpo"])
def test_no_gradient_for_a_sequence_whose_ratio_left_the_bounds(name):
    drift = torch.tensor([[19.0, 20.5], [19.0, 21.5]], dtype=torch.float64)
    batch = drift - 40, drift * 0 - 40, -torch.ones(2), torch.ones(2, 2)
    result, grad = loss_and_grad(make_objective(name), *batch)
    assert result.weights[0].tolist() == pytest.approx([math.exp(19.75)] * 2)
    assert (result.weights[1] == 0).all() and (grad[1] == 0).all()


@pytest.mark.parametrize("name", ["bapo", "bapo_released", "clip_cov", "kl_cov"])
def test_no_gradient_for_a_token_whose_ratio_left_the_bounds(name):
    drift = torch.tensor([[19.0, 21.0, 0.1]], dtype=torch.float64)
    batch = drift - 40, drift * 0 - 40, -torch.ones(1), torch.ones(1, 3)
    settings = {"kl_cov": {"fraction": 1.0}, "bapo_released": {"cap": None}}
    result, grad = loss_and_grad(make_objective(name, **settings.get(name, {})), *batch)
    assert (result.weights[0] == 0).tolist() == [False, True, False]
    assert (grad[0] == 0).tolist() == [False, True, False]


# References that need more than a plain call


@pytest.mark.parametrize("case", GOLDEN_CASES)
@pytest.mark.parametrize("source", ["vespo_official", "trl1160"])
def test_vespo_with_rollout_weights_in_the_sequence_ratio(golden, source, case):
    """They multiply v into W; here log π_old - log v takes the place of log π_old.

    Weights on tokens, outside φ, are something else, by up to 100%.
    """
    given, out = stored(golden, f"{source}/vespo_is/token-mean", case)
    weights = given["rollout_is_weights"]
    folded = given["old_log_prob"] - weights.log()
    log_probs, advantages, mask = (given[x] for x in ("log_prob", "advantages", "mask"))
    result, grad = loss_and_grad(make_objective("vespo"), log_probs, folded, advantages, mask)
    assert float(result.loss) == pytest.approx(float(out("loss")), rel=1e-10, abs=1e-13)
    torch.testing.assert_close(grad, out("grad"), rtol=1e-10, atol=1e-13)
    if advantages.any():
        _, outside = loss_and_grad(
            make_objective("vespo"), log_probs, given["old_log_prob"], advantages, mask,
            rollout_weights=weights,
        )  # fmt: skip
        assert (outside - out("grad")).abs().max() > 1e-3 * out("grad").abs().max()


@pytest.mark.parametrize("case", GOLDEN_CASES)
@pytest.mark.parametrize(
    ("reference", "low", "high"),
    [("geo_mean", 0.2, 0.28), ("geo_mean_04", 0.4, 0.4), ("geo_mean_is", 0.2, 0.28)],
)
def test_gmpo_equals_verls_geo_mean(golden, reference, low, high, case):
    """verl divides by n + 1e-8 in the exponent, in the mean advantage and so in the gradient."""
    given, out = stored(golden, f"verl091/{reference}/seq-mean-token-mean", case)
    log_probs, old, advantages, mask = (
        given[x] for x in ("log_prob", "old_log_prob", "advantages", "mask")
    )
    n = mask.sum(1, keepdim=True)
    shrink = n / (n + 1e-8)
    drift = log_probs - old
    held = torch.where(advantages > 0, drift.clamp(max=high), drift.clamp(min=-low))
    mean = (held * mask).sum(1, keepdim=True) / n
    factors = shrink * torch.exp(mean * (shrink - 1))
    if reference.endswith("_is"):
        logs = (given["rollout_is_weights"] + 1e-10).log() * mask
        factors = factors * (logs.sum(1, keepdim=True) / (n + 1e-8)).exp()
    result, grad = loss_and_grad(
        make_objective("gmpo", epsilon_low=low, epsilon_high=high), log_probs, old, advantages, mask,
        reduction="seq-mean-token-mean", rollout_weights=factors.expand_as(mask),
    )  # fmt: skip
    assert float(result.loss) == pytest.approx(float(out("loss")), rel=1e-10, abs=1e-12)
    torch.testing.assert_close(grad * shrink, out("grad"), rtol=1e-10, atol=1e-13)


def choosing(objective, chosen):
    """Give the objective a selection of tokens in place of its own."""

    class Given(type(objective)):
        def select(self, *_):
            return chosen

    return Given(**{f.name: getattr(objective, f.name) for f in fields(objective)})


CLIP_COV = {"epsilon_low": 0.2, "epsilon_high": 0.28}
COV_REFERENCES = {
    "clip_cov": make_objective("clip_cov", **CLIP_COV),
    "clip_cov_r20": make_objective("clip_cov", fraction=0.2, cov_low=0.1, **CLIP_COV),
    "kl_cov": make_objective("kl_cov", fraction=2e-4, beta=0.1),
    "kl_cov_r20": make_objective("kl_cov", fraction=0.2),
}


@pytest.mark.parametrize("case", GOLDEN_CASES)
@pytest.mark.parametrize("reference", COV_REFERENCES)
def test_covariance_objectives_equal_verl_for_its_selection(golden, reference, case):
    given, out = stored(golden, f"verl091/{reference}/token-mean", case)
    batch = [given[x] for x in ("log_prob", "old_log_prob", "advantages", "mask")]
    chosen = out("selected").bool()
    result, grad = loss_and_grad(choosing(COV_REFERENCES[reference], chosen), *batch)
    assert float(result.loss) == pytest.approx(float(out("loss")), rel=1e-10, abs=1e-13)
    torch.testing.assert_close(grad, out("grad"), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("case", GOLDEN_CASES)
@pytest.mark.parametrize("reference", ["clip_cov", "clip_cov_r20"])
def test_clip_cov_draws_as_many_of_the_same_candidates(golden, reference, case):
    """The stored selection is the first of the candidates in row-major order."""
    given, out = stored(golden, f"verl091/{reference}/token-mean", case)
    objective = COV_REFERENCES[reference]
    batch = clean(*(given[x] for x in ("log_prob", "old_log_prob", "advantages", "mask")))
    weights = super(type(objective), objective).token_terms(batch).weights
    candidates = objective.candidates(batch, weights)
    expected, ours = out("selected").bool(), objective.select(batch, weights)
    first = torch.zeros_like(candidates)
    first.view(-1)[candidates.flatten().nonzero()[: int(expected.sum()), 0]] = True
    assert torch.equal(first, expected)
    assert int(ours.sum()) == int(expected.sum()) and not (ours & ~candidates).any()


@pytest.mark.parametrize("case", GOLDEN_CASES)
@pytest.mark.parametrize("reference", ["kl_cov", "kl_cov_r20"])
def test_kl_cov_ranks_as_verl(golden, reference, case):
    """Where covariances are equal the stored choice is torch.topk's; so compare what was chosen."""
    given, out = stored(golden, f"verl091/{reference}/token-mean", case)
    batch = clean(*(given[x] for x in ("log_prob", "old_log_prob", "advantages", "mask")))
    expected, ours = out("selected").bool(), COV_REFERENCES[reference].select(batch)
    cov = covariances(batch)
    chosen = [cov[x].sort().values for x in (expected, ours)]
    torch.testing.assert_close(*chosen, rtol=1e-12, atol=1e-15)
    edge = cov.isclose(chosen[0][0], rtol=1e-12, atol=1e-15) & batch.mask
    if torch.equal(edge, edge & expected):
        assert torch.equal(expected, ours)


@pytest.mark.parametrize("case", GOLDEN_CASES)
@pytest.mark.parametrize(
    ("reference", "settings"),
    [
        ("bapo", {}),
        (
            "bapo_script",
            {"target": 1 / 3, "lower_start": 0.8, "lower_max": 0.95, "upper_step": 0.1},
        ),
        (
            "bapo_early",
            {"target": 0.375, "lower_start": 0.5, "lower_max": 0.7, "upper_start": 0.75},
        ),
    ],
)
def test_bapo_finds_the_bounds_of_the_release(golden, reference, settings, case):
    given, out = stored(golden, f"bapo_official/{reference}/token-mean", case)
    batch = clean(*(given[x] for x in ("log_prob", "old_log_prob", "advantages", "mask")))
    found = make_objective("bapo_released", **settings).bounds(batch)
    assert [float(x) for x in found] == pytest.approx(out("bounds")[:2].tolist(), rel=1e-12)


# BAPO's search


@pytest.mark.parametrize("first", ["upper", "lower"])
@pytest.mark.parametrize("by_mass", [True, False])
def test_bapo_finds_the_bounds_of_a_plain_search(first, by_mass):
    """Over many batches the search ends at its start, on both legs of its path, and at its end."""
    found = set()
    for seed in range(60):
        batch = random_batch(seed)
        settings = {
            "first": first, "by_mass": by_mass, "upper_start": 0.8, "lower_start": 0.1,
            "lower_max": 0.7, "lower_step": 0.13, "target": 0.3 + 0.4 * (seed % 7) / 7,
        }  # fmt: skip
        bounds = make_objective("bapo", **settings).bounds(clean(*batch))
        expected = oracle_sequence.bapo_bounds(as_lists(*batch), **settings)
        assert [float(x) for x in bounds] == pytest.approx(expected, rel=1e-12)
        found.add(expected)
    moved = {(low > 0.1, high > 0.8) for low, high in found}
    assert {(False, False), (True, True)} <= moved and len(found) > 5


def test_bapos_path_and_its_ranges():
    path = make_objective("bapo").path()
    assert len(path) == 1 + 36 + 15 and path[0] == (0.6, 1.2) and path[-1] == (0.9, 3.0)
    assert path[36] == (0.6, 3.0)
    assert make_objective("bapo_released").path()[4] == (0.8, 1.2)
    still = make_objective("bapo", upper_max=1.2, lower_max=0.6)
    assert still.path() == [(0.6, 1.2)]
    with pytest.raises(maspo.InputError, match=r"lower_start 0\.95, lower_max 0\.9"):
        make_objective("bapo", lower_start=0.95)
    with pytest.raises(maspo.InputError, match=r"lower_max 1\.3, upper_start 1\.2"):
        make_objective("bapo", lower_max=1.3)


# Clip-Cov's draw


def chosen_by(objective, batch):
    """Run Clip-Cov's selection on a batch."""
    weights = torch.ones_like(batch[0])
    return objective.select(clean(*batch), weights)


DRAW = make_objective("clip_cov", fraction=0.1, cov_low=0.0, cov_high=1e9)


def test_the_draw_is_the_same_every_time_and_touches_no_random_state():
    batch = random_batch(1, batch=8, time=20)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = chosen_by(DRAW, batch)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(chosen_by(DRAW, batch), one)
    assert int(one.sum()) == int(batch[3].sum()) // 10


def test_another_seed_or_another_batch_draws_other_tokens():
    batch = log_probs, old, advantages, mask = random_batch(1, batch=8, time=20)
    one = chosen_by(DRAW, batch)
    others = [chosen_by(replace(DRAW, seed=seed), batch) for seed in range(1, 6)]
    assert not any(torch.equal(one, other) for other in others)
    nudged = log_probs.clone()
    nudged[0, 0] -= 1e-4  # one token of one row: all rows draw anew
    after = chosen_by(DRAW, (nudged, old, advantages, mask))
    assert not torch.equal(one[3:], after[3:])
    with pytest.raises(maspo.InputError, match=r"seed .* must be whole and >= 0, not 0\.5"):
        make_objective("clip_cov", seed=0.5)


def test_keys_are_evenly_distributed_even_for_tokens_that_are_all_alike():
    """400 draws of 4 of 40 tokens, over seeds and over batches; the hash makes the counts fixed."""
    mask = torch.ones(4, 10, dtype=torch.bool)
    alike = torch.zeros(4, 10)
    alike[:, 0] = torch.tensor([-0.1, -0.2, -0.3, -0.4])  # sure of all but the first token
    counts = torch.zeros(2, 40)
    for seed in range(400):
        other = alike.clone()
        other[0, 0] -= seed / 97
        for i, (log_probs, key) in enumerate([(alike, seed), (other, 0)]):
            batch = clean(log_probs, log_probs, torch.ones(4), mask)
            keys = token_keys(batch, key).flatten()
            assert len(keys.unique()) == 40
            counts[i, keys.argsort()[:4]] += 1
    assert (counts.sum(1) == 1600).all()
    for row in counts:
        assert chisquare(row.numpy()).pvalue > 0.01


def test_the_hash_is_splitmix64():
    """The numbers that everybody's SplitMix64 gives first, from the seeds 0 and 1234567."""
    state = torch.tensor([0, 1234567]) + GOLDEN
    first = [x % 2**64 for x in mixed(state).tolist()]
    assert first == [0xE220A8397B1DCDAF, 6457827717110365317]


def test_keys_tell_nothing_of_the_log_probability():
    batch = clean(*random_batch(2, batch=64, time=200))
    keys, log_probs = token_keys(batch, 0)[batch.mask].double(), batch.log_probs[batch.mask]
    correlation = torch.corrcoef(torch.stack([keys, log_probs]))[0, 1]
    assert abs(float(correlation)) < 3 / math.sqrt(len(keys))


# Invariances


ONES = [make_objective(name) for name in (*SEQUENCES, "bapo", "bapo_released")]
SOME = [DRAW, make_objective("kl_cov", fraction=0.2), make_objective("bapo", target=0.6)]


def slopes_of(objective, batch):
    """Give c of every token, by the gradient of the sum."""
    return loss_and_grad(objective, *batch, denominator=1.0)[1]


@pytest.mark.parametrize("objective", ONES + SOME, ids=str)
@pytest.mark.parametrize(("left", "right", "rows"), [(0, 5, 0), (3, 0, 0), (2, 1, 2)])
def test_padding_changes_nothing(objective, left, right, rows):
    batch = random_batch(4, batch=8, time=15)
    padded = [
        torch.nn.functional.pad(x, (left, right, 0, rows), value=float("nan") if x.is_floating_point() else 0)
        for x in (*batch[:2], batch[2][:, None].expand_as(batch[0]), batch[3])
    ]  # fmt: skip
    slopes = slopes_of(objective, padded)[:8, left : left + 15]
    torch.testing.assert_close(slopes, slopes_of(objective, batch), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("objective", ONES + SOME, ids=str)
def test_rows_may_come_in_any_order(objective):
    batch = random_batch(4, batch=8, time=15)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    shuffled = slopes_of(objective, [x[order] for x in batch])
    torch.testing.assert_close(shuffled, slopes_of(objective, batch)[order], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", maspo.OBJECTIVES)
def test_couples_batch_means_that_other_rows_matter(name):
    """Slopes of 2 rows alone and among 8, over several batches."""
    settings = {"clip_cov": {"fraction": 0.2, "cov_low": 0.0}, "kl_cov": {"fraction": 0.2}}
    objective = make_objective(name, **settings.get(name, {}))
    same = []
    for seed in range(8):
        batch = random_batch(seed, batch=8, time=15)
        alone = slopes_of(objective, [x[:2] for x in batch])
        same.append(torch.allclose(alone, slopes_of(objective, batch)[:2], rtol=1e-9, atol=1e-12))
    assert all(same) != objective.couples_batch


# Several processes


def on_two_processes(batch, use):
    """Run `use` on both halves of a batch in threads that exchange their sums."""
    barrier, posted, calls, found = threading.Barrier(2), {}, [0, 0], [None, None]

    def work(rank):
        def add_up(x):
            calls[rank] += 1
            posted[rank] = x
            barrier.wait(timeout=20)
            total = posted[0] + posted[1]
            barrier.wait(timeout=20)
            return total

        half = [x[rank::2] for x in batch]
        found[rank] = use(half, add_up)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1, 1], "one exchange a loss, on every process"
    return found


@pytest.mark.parametrize("name", ["bapo", "bapo_released"])
@pytest.mark.parametrize("seed", range(6))
def test_processes_find_the_same_bounds_together(name, seed):
    batch = random_batch(seed, batch=8, time=15)
    objective = make_objective(name, target=0.6)
    whole = weights_of(objective, batch)
    halves = on_two_processes(
        batch, lambda half, add: weights_of(objective, half, sum_over_processes=add)
    )
    for rank, half in enumerate(halves):
        assert torch.equal(half, whole[rank::2])


@pytest.mark.parametrize("name", ["clip_cov", "kl_cov"])
def test_processes_share_the_means_of_the_covariance(name):
    batch = random_batch(1, batch=8, time=15)
    whole = covariances(clean(*batch))
    halves = on_two_processes(
        batch, lambda half, add: covariances(replace(clean(*half), sum_over_processes=add))
    )
    for rank, half in enumerate(halves):
        torch.testing.assert_close(half, whole[rank::2], rtol=1e-12, atol=1e-14)
    on_two_processes(batch, lambda half, add: weights_of(name, half, sum_over_processes=add))


def test_the_trainer_hands_in_its_sum(tmp_path):
    pytest.importorskip("trl")
    import test_trl_contract as contract

    seen = []

    class Watching(maspo.OBJECTIVES["bapo"]):
        def token_terms(self, batch):
            seen.append(batch.sum_over_processes(torch.ones(2)).tolist())
            return super().token_terms(batch)

    trainer = contract.make(
        contract.MASPOTrainer, contract.MASPOConfig, tmp_path, objective=Watching(), max_steps=1
    )
    trainer.train()
    assert seen and all(x == [1.0, 1.0] for x in seen)
