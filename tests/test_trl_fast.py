"""The work that our trainer leaves out changes no gradient: whole updates against stock TRL's."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

trl = pytest.importorskip("trl")
transformers = pytest.importorskip("transformers")

from test_trl_contract import AS_STOCK, make  # noqa: E402

import maspo  # noqa: E402
from maspo.engines.trl import MASPOConfig, MASPOTrainer  # noqa: E402
from maspo.engines.trl.gate_log import GateLog  # noqa: E402
from maspo.engines.trl.passes import cut, deal, plan_passes, widths  # noqa: E402

FAST = {**dict.fromkeys(AS_STOCK, True), "group_decoding": False}
NARROW = 0.01  # so that the second update clips
ROWS, PROMPT, COMPLETION = 8, 7, 12


def rollout(vocabulary, dead=True):
    """Make a scored rollout of 8 rows in 2 groups, ragged, as TRL holds it; half of it dead."""
    g = torch.Generator().manual_seed(1)
    lengths = torch.tensor([12, 3, 5, 1, 9, 2, 4, 7])
    prompts = torch.tensor([7, 7, 7, 7, 3, 3, 3, 3])
    advantages = torch.tensor([1.0, -1.0, 0.5, -0.5, 0.3, -0.3, 0.9, -0.9])
    if dead:
        advantages[[0, 1, 4, 6]] = 0.0
    completion_mask = (torch.arange(COMPLETION) < lengths[:, None]).long()
    return {
        "prompt_ids": torch.randint(4, vocabulary, (ROWS, PROMPT), generator=g),
        "prompt_mask": (torch.arange(PROMPT) >= PROMPT - prompts[:, None]).long(),
        "completion_ids": torch.randint(4, vocabulary, (ROWS, COMPLETION), generator=g),
        "completion_mask": completion_mask,
        "advantages": advantages,
        "num_items_in_batch": completion_mask.sum(),
    }


def in_float64(self, model, ids, mask, keep, batch_size=None, compute_entropy=False, *_, **__):
    """Score rows as TRL does, without what rounds to float32 even in a model of float64.

    That is TRL's fused head, and the rotary table of transformers, which is met at other places
    where a row stands behind less padding.
    """
    logits = []
    for some, kept in zip(*(x.split(batch_size or len(x)) for x in (ids, mask)), strict=True):
        places = (kept.cumsum(1) - 1).clamp(min=0)
        output = model(input_ids=some, attention_mask=kept, position_ids=places)
        logits.append(output.logits[:, -keep - 1 : -1])
    log_probs = torch.cat(logits).log_softmax(-1)
    entropies = -(log_probs.exp() * log_probs).sum(-1)
    return log_probs.gather(2, ids[:, -keep:, None])[..., 0], entropies, None


def gradient(kind, config, folder, monkeypatch, batch, dtype, **settings):
    """Run the micro-batches of two updates; return the gradient of each, and the metrics.

    Only the sampling is replaced, by a fixed rollout, and the step of the optimizer, by a fixed one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = make(kind, config, folder, dtype, **settings)
    steps = settings["gradient_accumulation_steps"]
    trainer.args.steps_per_generation = 2 * steps
    trainer.current_gradient_accumulation_steps = steps
    trainer.model.train()

    def scored(self, _):
        """Do what TRL does after sampling: score the old policy and the reference."""
        output = dict(batch)
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
        size = ROWS // (2 * steps)
        with torch.no_grad():
            old, _, _ = self._get_per_token_logps_and_entropies(
                self.model, ids, mask, COMPLETION, batch_size=size
            )
            output["old_per_token_logps"] = old
            if self.beta:
                output["ref_per_token_logps"] = self._get_per_token_logps_and_entropies(
                    self.ref_model, ids, mask, COMPLETION, batch_size=size
                )[0]
        return output

    monkeypatch.setattr(trl.GRPOTrainer, "_generate_and_score_completions", scored)
    if dtype == torch.float64:
        monkeypatch.setattr(trl.GRPOTrainer, "_get_per_token_logps_and_entropies", in_float64)
    torch.manual_seed(0)  # TRL shuffles the rollout
    gradients = []
    for _ in range(2):
        trainer.model.zero_grad()
        for _ in range(steps):
            inputs = trainer._prepare_inputs({})
            trainer._compute_loss(trainer.model, inputs).backward()
            trainer._step += 1
        gradients.append({n: p.grad.clone() for n, p in trainer.model.named_parameters()})
        g = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in trainer.model.parameters():
                parameter += 0.003 * torch.randn(parameter.shape, generator=g, dtype=dtype)
    return gradients, {k: v for k, v in trainer._metrics["train"].items()}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("loss_type", ["dapo", "bnpo", "grpo", "dr_grpo", "luspo"])
def test_an_update_has_the_gradient_of_stock_trl(
    loss_type, beta, accumulation, dtype, tmp_path, monkeypatch
):
    common = {
        "monkeypatch": monkeypatch, "batch": rollout(64), "dtype": dtype, "loss_type": loss_type,
        "beta": beta, "gradient_accumulation_steps": accumulation,
        "steps_per_generation": 2 * accumulation,
    }  # fmt: skip
    stock, seen = gradient(trl.GRPOTrainer, trl.GRPOConfig, tmp_path, epsilon=NARROW, **common)
    monkeypatch.undo()
    clip = maspo.GRPO(epsilon_low=NARROW, epsilon_high=NARROW)
    ours, metrics = gradient(MASPOTrainer, MASPOConfig, tmp_path, objective=clip, **FAST, **common)
    assert sum(seen["clip_ratio/region_mean"]) > 0
    tolerance = 1e-9 if dtype == torch.float64 else 1e-5
    for update, (one, two) in enumerate(zip(stock, ours, strict=True)):
        largest = max(g.abs().max() for g in one.values())
        assert largest > 0, update
        for name, expected in one.items():
            assert (two[name] - expected).abs().max() <= tolerance * largest, (update, name)
    skipped = metrics["maspo/rows_skipped"]
    assert sum(skipped) / len(skipped) == (0.0 if beta else 0.5)


# What goes through the model together


def test_widths_are_measured_from_the_middle():
    mask = torch.tensor([[0, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1], [0, 0, 1, 0, 0, 0]])
    assert widths(mask, 3).tolist() == [[2, 2], [3, 3], [1, 0]]


def test_rows_of_like_length_go_together():
    assert cut([100, 95, 90, 40, 39, 10], most_rows=8, enough=200) == [3, 3]
    assert cut([100, 95, 90, 40, 39, 10], most_rows=2, enough=200) == [2, 2, 2]
    assert cut([100, 95, 90, 40], most_rows=8, enough=1000) == [4]
    assert cut([], most_rows=8, enough=1000) == [0]


def test_passes_hold_the_live_rows_longest_first():
    lengths = torch.tensor([[3, 5], [2, 9], [3, 0], [1, 1]])
    (one,) = plan_passes(lengths, torch.tensor([True] * 4), most_rows=4)
    assert one.rows.tolist() == [1, 0, 3]  # row 2 has no completion
    assert (one.prompt, one.completion, one.counts) == (3, 9, True)
    first, second = plan_passes(lengths, torch.tensor([True, False, True, True]), most_rows=1)
    assert [(p.rows.tolist(), p.prompt, p.completion) for p in (first, second)] == [
        ([0], 3, 5),
        ([3], 1, 1),
    ]


def test_every_process_makes_the_same_number_of_passes():
    lengths, nobody = torch.tensor([[3, 5], [2, 9]]), torch.tensor([False, False])
    passes = plan_passes(lengths, nobody, most_rows=1, fixed=2)
    assert [(p.rows.tolist(), p.prompt, p.completion, p.counts) for p in passes] == [
        ([0], 1, 1, False)
    ] * 2
    some = plan_passes(lengths, torch.tensor([False, True]), most_rows=1, fixed=2)
    assert [p.counts for p in some] == [True, False]


def test_an_update_keeps_its_rows_and_micro_batches_their_size():
    batch = rollout(64)
    window = [{k: v if v.dim() == 0 else v[i : i + 4] for k, v in batch.items()} for i in (0, 4)]
    live = batch["advantages"] != 0
    dealt = deal(window, live)
    assert [x["completion_mask"].sum(1).tolist() for x in dealt] == [[5, 7, 1, 2], [12, 9, 3, 4]]
    assert torch.cat([x["advantages"] for x in dealt]).ne(0).tolist() == [True] * 4 + [False] * 4
    assert all(x["num_items_in_batch"] == batch["num_items_in_batch"] for x in dealt)
    rows = {tuple(r) for r in batch["completion_ids"].tolist()}
    assert {tuple(r) for x in dealt for r in x["completion_ids"].tolist()} == rows


# Rows without a gradient


@pytest.mark.parametrize("name", maspo.OBJECTIVES)
def test_dead_rows_may_be_left_out_where_an_objective_says_so(name):
    g = torch.Generator().manual_seed(5)
    old = -3 * torch.rand(6, 40, generator=g, dtype=torch.float64)
    log_probs = old + 0.3 * torch.randn(6, 40, generator=g, dtype=torch.float64)
    advantages = torch.tensor([0.0, 1.0, 0.0, -1.0, 0.4, 0.0], dtype=torch.float64)
    mask, entropies = torch.ones(6, 40).bool(), torch.rand(6, 40, generator=g)

    def slopes(rows):
        leaf = log_probs[rows].requires_grad_()
        more = {"fraction": 0.05} if name in ("clip_cov", "kl_cov") else {}
        maspo.policy_loss(
            leaf, old[rows], advantages[rows], mask[rows], denominator=1.0, reduction="token-mean",
            objective=maspo.make_objective(name, **more), entropies=entropies[rows],
            groups=torch.arange(6)[rows] // 3,
        ).loss.backward()  # fmt: skip
        return leaf.grad

    live = advantages != 0
    whole, alone = slopes(torch.ones(6).bool()), slopes(live)
    same = bool((whole[~live] == 0).all()) and torch.allclose(whole[live], alone, rtol=1e-10)
    assert same != maspo.OBJECTIVES[name].needs_dead_rows


def test_a_rollout_without_any_live_row_still_makes_its_steps(tmp_path, monkeypatch):
    batch = rollout(64)
    batch["advantages"] = torch.zeros(ROWS)
    gradients, metrics = gradient(
        MASPOTrainer, MASPOConfig, tmp_path, monkeypatch, batch, torch.float32,
        objective=maspo.MASPO(), gradient_accumulation_steps=1, steps_per_generation=2, **FAST,
    )  # fmt: skip
    assert all((g == 0).all() for update in gradients for g in update.values())
    assert metrics["maspo/rows_skipped"] == [1.0, 1.0]


def test_entropy_is_that_of_the_rows_that_were_not_skipped(tmp_path, monkeypatch):
    found = {}
    for fast in (True, False):
        settings = {**FAST, "skip_dead_rows": fast}
        batch = rollout(64)
        if not fast:  # without their tokens the dead rows have no part in the mean
            batch["completion_mask"] = (
                batch["completion_mask"] * (batch["advantages"] != 0)[:, None]
            )
        _, metrics = gradient(
            MASPOTrainer, MASPOConfig, tmp_path, monkeypatch, batch, torch.float32,
            objective=maspo.MASPO(), gradient_accumulation_steps=1, steps_per_generation=2,
            **settings,
        )  # fmt: skip
        found[fast] = metrics["entropy"]
        monkeypatch.undo()
    assert found[True] == pytest.approx(found[False], rel=1e-5)


def test_the_gate_is_described_on_every_nth_micro_batch(tmp_path, monkeypatch):
    described = []
    monkeypatch.setattr(GateLog, "add", lambda self, found: described.append(found))
    for every, expected in ((1, 8), (3, 3)):
        gradient(
            MASPOTrainer, MASPOConfig, tmp_path, monkeypatch, rollout(64), torch.float32,
            objective=maspo.MASPO(), gradient_accumulation_steps=4, steps_per_generation=8,
            diagnostics_every=every, **FAST,
        )  # fmt: skip
        assert len(described) == expected
        described.clear()
    with pytest.raises(maspo.InputError, match="diagnostics_every must be at least 1, not 0"):
        MASPOConfig(str(tmp_path), diagnostics_every=0, bf16=False, use_cpu=True)


def test_two_processes_agree_with_stock_trl_on_two_processes():
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    torchrun += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"]
    done = subprocess.run(
        [*torchrun, "two_processes.py", "dapo", "grpo"],
        cwd=Path(__file__).parent, capture_output=True, text=True, timeout=300,
        env={
            **os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(maspo.__file__).parents[1]),
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("same") == 8
