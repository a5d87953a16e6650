"""What the objectives that couple a batch have besides what all share: search, draw, processes."""

import math
import threading
from dataclasses import replace

import oracle_sequence
import pytest
import torch
from scipy.stats import chisquare
from test_objectives import loss_and_grad, random_batch
from test_sequence_objectives import as_lists, clean, weights_of

import maspo
from maspo import make_objective
from maspo.objectives.covariance import covariances
from maspo.objectives.token_hash import GOLDEN, mixed, token_keys

SEQUENCES = "gspo", "gspo_token", "luspo", "gmpo", "vespo"


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
    assert {(False, False), (True, True)} <= moved and len(found) >= 5


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


@pytest.mark.parametrize("name", ["bapo", "bapo_released"])
def test_bapos_width_is_the_way_from_1_to_the_bound_on_the_side_of_the_ratio(name):
    settings = oracle_sequence.BAPO_RELEASED if name == "bapo_released" else {}
    search = {key: value for key, value in settings.items() if key != "cap"}
    for seed in range(4):
        batch = random_batch(seed)
        low, high = oracle_sequence.bapo_bounds(as_lists(*batch), **search)
        found = make_objective(name).terms(clean(*batch)).widths[batch[3]]
        tokens = [token for row in as_lists(*batch) for token in row]
        expected = [high - 1 if l > l_old else 1 - low for l, l_old, _ in tokens]
        assert found.tolist() == pytest.approx(expected, rel=1e-12)


# Calibrated MASPO's search


@pytest.mark.parametrize("shape", ["gaussian", "hard"])
@pytest.mark.parametrize("two_sided", [False, True])
def test_the_calibrated_gate_has_the_scale_of_a_plain_search(shape, two_sided):
    found = set()
    for seed in range(60):
        batch = random_batch(seed)
        settings = {"keep": 0.1 + 0.85 * (seed % 7) / 6, "shape": shape, "two_sided": two_sided}
        objective = make_objective("maspo_calibrated", **settings)
        cleaned = clean(*batch)
        scale = objective.width(cleaned) / make_objective("maspo").width(cleaned)
        expected = oracle_sequence.calibrated_scale(as_lists(*batch), **settings)
        assert scale[batch[3]].tolist() == pytest.approx(
            [expected] * int(batch[3].sum()), rel=1e-12
        )
        found.add(expected)
    assert len(found) > 10 and max(found) == 1


def test_tokens_that_did_not_move_do_not_count_as_kept():
    for seed in range(8):
        log_probs, old, advantages, mask = random_batch(seed, batch=8, time=15)
        still = torch.where(torch.arange(15) < 9, old, log_probs)  # most ratios are exactly 1
        batch = still, old, advantages, mask
        width = make_objective("maspo_calibrated", keep=0.7).width(clean(*batch))
        scale = (width / make_objective("maspo").width(clean(*batch)))[mask][0]
        expected = oracle_sequence.calibrated_scale(as_lists(*batch), keep=0.7)
        assert float(scale) == pytest.approx(expected, rel=1e-12)


def test_where_ratios_stay_near_1_the_calibrated_gate_acts_and_maspos_does_not():
    """The share of the gradient left on the gated side, by the weights themselves."""
    for seed in range(8):
        log_probs, old, advantages, mask = random_batch(seed, batch=8, time=15)
        batch = old + 0.03 * (log_probs - old), old, advantages, mask
        cleaned = clean(*batch)
        size = cleaned.ratio * cleaned.advantages.abs()
        acted_on = mask & (cleaned.advantages * (cleaned.ratio - 1) > 0)

        def left(name, batch=batch, size=size, acted_on=acted_on, cleaned=cleaned, **settings):
            found = weights_of(make_objective(name, **settings), batch) * cleaned.advantages.abs()
            return float(found[acted_on].sum() / size[acted_on].sum())

        shares = [left("maspo_calibrated", narrowest=1e-3, keep=keep) for keep in (0.5, 0.8, 0.95)]
        assert 0.5 <= shares[0] < 0.8 <= shares[1] < 0.95 <= shares[2] < 0.99 < left("maspo")


@pytest.mark.parametrize("settings", [{"keep": 1.0}, {"narrowest": 1.0}])
def test_a_gate_that_may_take_nothing_or_not_narrow_is_maspos(settings):
    for seed in range(4):
        batch = random_batch(seed)
        found = weights_of(make_objective("maspo_calibrated", **settings), batch)
        assert torch.equal(found, weights_of("maspo", batch))


def test_a_gate_narrows_with_the_drift_of_its_batch():
    """Ratios by hand: one token of two has lost d, so D = d / 2."""
    for lost, expected in ((0.0, 1.0), (0.02, 1.0), (0.04, 0.25), (0.2, 0.01)):
        old = torch.tensor([[-1.0, -2.0]], dtype=torch.float64)
        new = old + torch.tensor([[1 - lost, 1.5]], dtype=torch.float64).log()
        batch = clean(new, old, torch.tensor([1.0], dtype=torch.float64), torch.ones_like(old))
        scale = make_objective("maspo_drift").width(batch) / make_objective("maspo").width(batch)
        assert scale.tolist() == [[pytest.approx(expected, rel=1e-9)] * 2]


def test_the_drift_is_that_of_a_plain_sum():
    found = set()
    for seed in range(20):
        batch = random_batch(seed)
        narrow = make_objective("maspo_drift", drift=0.1).width(clean(*batch))
        scale = narrow / make_objective("maspo").width(clean(*batch))
        expected = oracle_sequence.drift_scale(as_lists(*batch), drift=0.1)
        assert scale[batch[3]].tolist() == pytest.approx(
            [expected] * int(batch[3].sum()), rel=1e-12
        )
        found.add(expected)
    assert len(found) > 10


def test_no_drift_is_as_much_as_all_of_it_and_then_the_gate_is_maspos():
    for seed in range(4):
        batch = random_batch(seed)
        found = weights_of(make_objective("maspo_drift", drift=1.0), batch)
        assert torch.equal(found, weights_of("maspo", batch))


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
            keys = token_keys(batch, key, batch.mask)
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
    keys, log_probs = token_keys(batch, 0, batch.mask).double(), batch.log_probs[batch.mask]
    correlation = torch.corrcoef(torch.stack([keys, log_probs]))[0, 1]
    assert abs(float(correlation)) < 3 / math.sqrt(len(keys))


# Invariances


ONES = [make_objective(name) for name in (*SEQUENCES, "bapo", "bapo_released")]
SEARCHES = [
    make_objective("bapo", target=0.6),
    make_objective("bapo_released", target=0.6),
    make_objective("maspo_calibrated"),
]
SOME = [
    DRAW, make_objective("kl_cov", fraction=0.2), make_objective("maspo_drift", drift=0.1), *SEARCHES[::2],
]  # fmt: skip


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


@pytest.mark.parametrize("objective", SEARCHES, ids=str)
@pytest.mark.parametrize("seed", range(6))
def test_processes_find_the_same_bounds_together(objective, seed):
    batch = random_batch(seed, batch=8, time=15)
    whole = weights_of(objective, batch)
    halves = on_two_processes(
        batch, lambda half, add: weights_of(objective, half, sum_over_processes=add)
    )
    for rank, half in enumerate(halves):
        assert torch.equal(half, whole[rank::2])


def test_processes_measure_their_drift_together():
    objective = make_objective("maspo_drift", drift=0.1)
    batch = random_batch(2, batch=8, time=15)
    whole = weights_of(objective, batch)
    halves = on_two_processes(
        batch, lambda half, add: weights_of(objective, half, sum_over_processes=add)
    )
    for rank, half in enumerate(halves):
        torch.testing.assert_close(half, whole[rank::2], rtol=1e-12, atol=1e-15)


def test_a_token_alone_is_its_own_mean_and_has_no_covariance():
    alone = torch.tensor([[-4.0, -2.0]]), torch.zeros(1, 2), torch.tensor([4.0])
    for mask in ([1, 0], [0, 0]):
        assert covariances(clean(*alone, torch.tensor([mask]))).tolist() == [[0.0, 0.0]]


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
