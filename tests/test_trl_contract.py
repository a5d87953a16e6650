"""What the TRL engine relies on, pinned on TRL's real trainer: no part of it is replaced but its head.

Losses are those of TRL's `_compute_loss` after a forward pass of a real model, gradients those by the
log-probabilities, widened to float64 because TRL's fused head rounds to float32. Old log-probabilities
differ from the current ones by up to 1.5. One test compares whole runs, weights and all.
"""

import pickle
import warnings

import pytest
import torch

import maspo
from maspo.models import EMBEDDED

trl = pytest.importorskip("trl")
transformers = pytest.importorskip("transformers")

from datasets import Dataset  # noqa: E402

from maspo.engines.trl import SUPPORTED, MASPOConfig, MASPOTrainer  # noqa: E402
from maspo.engines.trl.callbacks import CollapseWarning  # noqa: E402
from maspo.engines.trl.names import FIELDS  # noqa: E402

PROMPTS = [
    [{"role": "user", "content": f"{a}+{b}"}] for a, b in [(12, 34), (5, 61), (70, 8), (9, 9)]
]


def even_tokens(completion_ids, **_):
    """Reward completions by their share of even tokens: varied, deterministic, without meaning."""
    return [sum(i % 2 == 0 for i in ids) / max(len(ids), 1) for ids in completion_ids]


AS_STOCK = {
    "group_decoding": False, "skip_dead_rows": False, "trim_padding": False, "reuse_first_forward": False,
    "share_prefix": False,
}  # fmt: skip
"""What our trainer leaves out of the work, switched off."""


def make(kind, config, folder, dtype=torch.float32, **settings):
    """Build a trainer of `kind` on the embedded model, with the work of stock TRL."""
    settings = {
        "loss_type": "dapo", "steps_per_generation": 4, "learning_rate": 1e-3, **settings,
    }  # fmt: skip
    if config is MASPOConfig:
        settings = AS_STOCK | settings
    args = config(
        output_dir=str(folder), per_device_train_batch_size=4, num_generations=4,
        max_completion_length=8, bf16=False, use_cpu=True, report_to=[], disable_tqdm=True,
        logging_steps=1, save_strategy="no", seed=3, **settings,
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=dtype)
    tokenizer = transformers.AutoTokenizer.from_pretrained(EMBEDDED)
    trainer = kind(
        model, even_tokens, args,
        train_dataset=Dataset.from_dict({"prompt": PROMPTS}), processing_class=tokenizer,
    )  # fmt: skip
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def loss_batch(vocabulary):
    """Make the inputs of `_compute_loss`: 4 rows, left-padded prompts, ragged completions."""
    g = torch.Generator().manual_seed(0)
    completion_mask = (torch.arange(8) < torch.tensor([8, 5, 1, 7])[:, None]).long()
    return {
        "prompt_ids": torch.randint(4, vocabulary, (4, 5), generator=g),
        "prompt_mask": (torch.arange(5) >= torch.tensor([0, 2, 1, 0])[:, None]).long(),
        "completion_ids": torch.randint(4, vocabulary, (4, 8), generator=g),
        "completion_mask": completion_mask,
        "advantages": torch.tensor([1.2, -0.7, 0.0, -1.5], dtype=torch.float64),
        "num_items_in_batch": completion_mask.sum() * 4,
        "shift": 1.5 * (2 * torch.rand(4, 8, generator=g, dtype=torch.float64) - 1),
        "ref_shift": torch.randn(4, 8, generator=g, dtype=torch.float64),
        "importance_sampling_ratio": torch.rand(4, 8, generator=g, dtype=torch.float64) * 2,
    }


@pytest.fixture(autouse=True)
def wide_log_probs(request, monkeypatch):
    """Make log-probabilities of float64: leaves, kept on the trainer, but for the test of a whole run."""
    forward = trl.GRPOTrainer._get_per_token_logps_and_entropies

    def widened(self, *args, **kwargs):
        log_probs, entropies, aux_loss = forward(self, *args, **kwargs)
        self.leaves = log_probs.detach().double().requires_grad_()
        return self.leaves, None if entropies is None else entropies.double(), aux_loss

    name = "_get_per_token_logps_and_entropies"
    whole = "whole_run" in request.node.name
    monkeypatch.setattr(trl.GRPOTrainer, name, unrounded if whole else widened)


def unrounded(self, model, ids, mask, kept, batch_size=None, compute_entropy=False, **_):
    """Score tokens as TRL does, without its fused head."""
    logits = model(input_ids=ids, attention_mask=mask).logits[:, -kept - 1 : -1]
    every = (logits / self.temperature).log_softmax(-1)
    chosen = every.gather(-1, ids[:, -kept:, None]).squeeze(-1)
    return chosen, -(every.exp() * every).sum(-1) if compute_entropy else None, None


def run_loss(trainer, **extra):
    """Return loss, its gradient by the log-probabilities, the metrics, and the batch of a loss pass."""
    batch = loss_batch(trainer.model.config.vocab_size) | extra
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    now = trainer._get_per_token_logps_and_entropies(trainer.model, ids, attention, 8)[0].detach()
    batch["old_per_token_logps"] = now - batch.pop("shift")
    batch["ref_per_token_logps"] = now - batch.pop("ref_shift")
    trainer.model.train()
    given = dict(batch)
    loss = trainer._compute_loss(trainer.model, batch)
    loss.backward()
    assert all(batch[key] is given[key] for key in given), "the buffered batch was changed"
    metrics = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    return float(loss.detach()), trainer.leaves.grad, metrics, batch


def both(tmp_path, objective, stock, ours=None, prepare=None, **extra):
    """Run stock TRL and ours on the same batch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = make(trl.GRPOTrainer, trl.GRPOConfig, tmp_path, **stock, **(ours or {}))
        two = make(MASPOTrainer, MASPOConfig, tmp_path, objective=objective, **(ours or {}))
    for trainer in (one, two):
        if prepare:
            prepare(trainer)
    return run_loss(one, **extra), run_loss(two, **extra)


def assert_same(stock, ours):
    """Compare loss, gradient and the metrics that TRL names."""
    assert ours[0] == pytest.approx(stock[0], rel=1e-12)
    torch.testing.assert_close(ours[1], stock[1], rtol=1e-12, atol=1e-16)
    named = {k: v for k, v in stock[2].items() if k in ours[2]}
    assert named.keys() == stock[2].keys()
    for name, value in named.items():
        assert ours[2][name] == pytest.approx(value, rel=1e-6, abs=1e-9), name


STOCK_CLIP = {"epsilon": 0.2, "epsilon_high": 0.28}
CLIP = maspo.GRPO(epsilon_low=0.2, epsilon_high=0.28)


@pytest.mark.parametrize("loss_type", ["dapo", "bnpo", "grpo", "dr_grpo", "luspo"])
def test_grpo_equals_stock_under_every_normaliser(tmp_path, loss_type):
    assert_same(*both(tmp_path, CLIP, STOCK_CLIP, {"loss_type": loss_type}))


@pytest.mark.parametrize(
    "settings",
    [
        {"beta": 0.04, "use_bias_correction_kl": False},
        {"beta": 0.04, "use_bias_correction_kl": True},
        {"entropy_coef": 0.01},
        {"top_entropy_quantile": 0.5},
        {"off_policy_mask_threshold": 0.02},
    ],
    ids=lambda settings: ",".join(settings),
)
def test_trls_other_terms_keep_working(tmp_path, settings):
    assert_same(*both(tmp_path, CLIP, STOCK_CLIP, settings))


def test_vllm_correction_and_tool_mask_keep_working(tmp_path):
    def prepare(trainer):
        trainer.use_vllm = trainer.vllm_importance_sampling_correction = True

    tool_mask = (torch.arange(8) != 2).long().expand(4, 8)
    assert_same(*both(tmp_path, CLIP, STOCK_CLIP, prepare=prepare, tool_mask=tool_mask))


@pytest.mark.parametrize(
    ("objective", "stock"),
    [
        (maspo.GRPO(epsilon_low=0.2, epsilon_high=0.28, cap=1.8), {**STOCK_CLIP, "delta": 1.8}),
        (
            maspo.GRPO(epsilon_low=0.01, epsilon_high=0.02, level="sequence"),
            {"epsilon": 0.01, "epsilon_high": 0.02, "importance_sampling_level": "sequence"},
        ),
    ],
)
def test_what_trl_has_too_equals_trl(tmp_path, objective, stock):
    one, two = both(tmp_path, objective, stock, {"loss_type": "grpo"})
    assert two[0] == pytest.approx(one[0], rel=1e-12)
    torch.testing.assert_close(two[1], one[1], rtol=1e-12, atol=1e-16)


def test_sapo_equals_trls(tmp_path):
    rounded = float(torch.tensor(1.05))  # TRL's torch.where makes its temperatures float32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = make(trl.GRPOTrainer, trl.GRPOConfig, tmp_path, loss_type="sapo")
        objective = maspo.SAPO(tau_neg=rounded)
        two = make(MASPOTrainer, MASPOConfig, tmp_path, loss_type="grpo", objective=objective)
    one, two = run_loss(one), run_loss(two)
    assert two[0] == pytest.approx(one[0], rel=1e-12)
    torch.testing.assert_close(two[1], one[1], rtol=1e-12, atol=1e-16)


def test_maspo_through_trl_equals_policy_loss(tmp_path):
    trainer = make(MASPOTrainer, MASPOConfig, tmp_path)
    loss, grads, _, batch = run_loss(trainer)
    log_probs = trainer.leaves.detach().requires_grad_()
    expected = maspo.policy_loss(
        log_probs, batch["old_per_token_logps"], batch["advantages"], batch["completion_mask"],
        objective="maspo",
    )  # fmt: skip
    expected.loss.backward()
    assert loss == pytest.approx(float(expected.loss.detach()), rel=1e-12)
    torch.testing.assert_close(grads, log_probs.grad, rtol=1e-12, atol=1e-16)
    for name, mean in expected.metrics.items():
        found = float(trainer._gate_logs["train"].totals[name])
        assert found == pytest.approx(float(mean), rel=1e-12, nan_ok=True), name
    assert 0 < float(expected.metrics["maspo/gate_active"]) < 1


def test_a_whole_run_of_grpo_equals_stock(tmp_path):
    """12 optimizer steps, 4 updates per rollout: same rollouts, same logs, same weights.

    All in float64, the head too: a run amplifies what was rounded away. On the log-probabilities of
    stock TRL, noise of half a unit in the last place of float32 moves its weights by 9e-6 in these 12
    steps, so that behind its own head no tolerance says anything of our trainer; unrounded, the two
    differ by 1.4e-15.
    """
    runs = {}
    for kind, config, settings in (
        (trl.GRPOTrainer, trl.GRPOConfig, STOCK_CLIP),
        (MASPOTrainer, MASPOConfig, {"objective": CLIP}),
    ):
        folder = tmp_path / kind.__name__
        trainer = make(kind, config, folder, torch.float64, max_steps=12, **settings)
        trainer.train()
        runs[kind] = trainer
    stock, ours = runs.values()
    for p, q in zip(stock.model.parameters(), ours.model.parameters(), strict=True):
        torch.testing.assert_close(q, p, rtol=0, atol=1e-11)
    clipped = 0.0
    for a, b in zip(stock.state.log_history[:12], ours.state.log_history[:12], strict=True):
        clipped += a["clip_ratio/region_mean"]
        for name, value in a.items():
            if name != "step_time":
                assert b[name] == pytest.approx(value, rel=1e-9, abs=1e-11), name
    # A generation batch of dead groups has no gate to speak of, so not every line has these.
    assert any("maspo/gate_mean" in line for line in ours.state.log_history)
    assert clipped > 0, "the run never clipped, so it compared nothing"


def test_one_update_per_rollout_is_called_inert(tmp_path):
    settings = {"output_dir": str(tmp_path), "bf16": False, "use_cpu": True}
    with pytest.warns(UserWarning, match="no gate acts"):
        MASPOConfig(**settings, updates_per_rollout=1)
    with pytest.raises(maspo.InputError, match="no gate acts"):
        MASPOConfig(**settings, updates_per_rollout=1, strict=True)
    assert MASPOConfig(**settings, strict=True).updates_per_rollout == 4
    assert (
        MASPOConfig(**settings, steps_per_generation=6, num_iterations=2).updates_per_rollout == 12
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 0.3}, "where it is epsilon_low and epsilon_high of GRPO"),
        ({"delta": 4.0}, "delta belongs to TRL's own losses .* where it is cap"),
        ({"importance_sampling_level": "sequence"}, "where it is level of GSPO"),
        ({"sapo_temperature_pos": 2.0}, "where it is tau_pos of SAPO"),
        ({"vespo_lambda_neg": 1.0}, "where it is lambda_neg of VESPO"),
        ({"loss_type": "cispo"}, "give objective='cispo' in its place"),
        ({"loss_type": "nonsense"}, "one of dapo, .* or bnpo: `objective` is the rest"),
        ({"updates_per_rollout": 4, "steps_per_generation": 4}, "give only one"),
        ({"objective": maspo.MASPO}, "objective is the class MASPO"),
        ({"updates_per_rollout": 0}, "updates_per_rollout must be at least 1, not 0"),
    ],
)
def test_settings_without_effect_are_refused(tmp_path, settings, message):
    with pytest.raises(maspo.InputError, match=message):
        MASPOConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True, **settings)


@pytest.mark.parametrize("name", FIELDS)
def test_a_setting_of_trls_own_losses_is_refused_at_its_default_too(tmp_path, name):
    given = getattr(trl.GRPOConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True), name)
    given = 0.3 if given is None else given
    with pytest.raises(maspo.InputError, match=f"{name} belongs to TRL's own losses"):
        MASPOConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True, **{name: given})
    made = MASPOConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True)
    assert getattr(made, name) is None
    assert getattr(pickle.loads(pickle.dumps(made)), name) is None
    assert made.to_dict()[name] is None


def test_scripts_may_parse_the_configuration(tmp_path):
    """As TRL's own scripts do, from the command line and from a YAML file."""
    words = ["--output_dir", str(tmp_path), "--bf16", "false", "--use_cpu", "true"]
    parser = trl.TrlParser(MASPOConfig)
    (found,) = parser.parse_args_and_config(words)
    assert found.objective == maspo.MASPO() and found.updates_per_rollout == 4
    (found,) = parser.parse_args_and_config(
        [*words, "--objective", "dr_grpo", "--updates_per_rollout", "8"]
    )
    assert found.objective == maspo.make_objective("dr_grpo") and found.updates_per_rollout == 8
    assert (found.loss_type, found.scale_rewards) == ("dr_grpo", "none")
    (tmp_path / "args.yaml").write_text("objective: sapo\nscale_rewards: batch\n")
    (found,) = trl.TrlParser(MASPOConfig).parse_args_and_config(
        [*words, "--config", str(tmp_path / "args.yaml")]
    )
    assert (found.objective, found.scale_rewards) == (maspo.SAPO(), "batch")
    with pytest.raises(maspo.InputError, match="epsilon belongs to TRL's own losses"):
        trl.TrlParser(MASPOConfig).parse_args_and_config([*words, "--epsilon", "0.2"])


def test_where_a_setting_of_trl_is_said_to_be_there_is_one():
    for name, ours in FIELDS.items():
        assert hasattr(trl.GRPOConfig, name), name
        fields, _, kind = ours.partition(" of ")
        objective = maspo.make_objective((kind or "GRPO").lower())
        assert all(hasattr(objective, field) for field in fields.split(" and ")), ours


def test_an_objective_may_be_named(tmp_path):
    args = MASPOConfig(output_dir=str(tmp_path), objective="maspo", bf16=False, use_cpu=True)  # type: ignore[arg-type]
    assert args.objective == maspo.MASPO()


def test_older_versions_of_trl_are_refused_and_newer_ones_are_not():
    for taken in (trl.__version__, "1.14.2", "1.17.0", "2.0.0.dev0"):
        SUPPORTED.check(taken)
    for other in ("1.14.0", "0.29.1"):
        with pytest.raises(maspo.InputError, match=f"TRL {other} is installed.*trl==1.16.0"):
            SUPPORTED.check(other)


def test_collapse_is_named_once_with_the_authors_advice():
    class State:
        global_step = 7

    watch = CollapseWarning("lower alpha")
    for reward in [0.4] * 5:
        watch.on_log(None, State, None, {"reward": reward})
    with pytest.warns(UserWarning, match="fell from 0.4 to .* lower alpha") as caught:
        for _ in range(20):
            watch.on_log(None, State, None, {"reward": 0.0})
    assert len(caught) == 1
