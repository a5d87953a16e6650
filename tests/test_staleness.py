"""Rollouts by the policy of k rollouts ago: whose completions, whose log-probabilities, what is refused."""

import copy
import dataclasses
import re
from dataclasses import dataclass

import pytest
import torch
from datasets import Dataset

from maspo.core.apply import apply_objective
from maspo.core.batch import MAX_LOG_RATIO, TokenBatch
from maspo.engines.trl import MASPOConfig, MASPOTrainer
from maspo.engines.trl.adapters import check_model, peft_config
from maspo.engines.trl.past import PastPolicies, check_budget
from maspo.engines.trl.translate import trl_config
from maspo.engines.verl.cluster import Cluster
from maspo.engines.verl.translate import overrides
from maspo.errors import InputError
from maspo.models import load_model
from maspo.objectives import make_objective
from maspo.objectives.advice import INERT
from maspo.recipes import load_recipe, plan
from maspo.recipes.sections.model import Lora

PROMPTS = ["2+2=", "19-5=", "77+1=", "30-12="]


@dataclass
class Rollout:
    """A rollout as the trainer made it, and what it was made from."""

    weights: dict
    random: torch.Tensor
    inputs: list
    output: dict


class Recording(MASPOTrainer):
    """A trainer that keeps its rollouts, with copies of the weights at the start of each."""

    def _generate_and_score_completions(self, inputs):
        one = Rollout(
            weights=copy.deepcopy(self.model.state_dict()),
            random=torch.get_rng_state(),
            inputs=copy.deepcopy(inputs),
            output={},
        )
        one.output = super()._generate_and_score_completions(inputs)
        self.rollouts.append(one)
        return one.output


def trainer(folder, lora=None, **settings):
    model, tokenizer = load_model("embedded")
    args = MASPOConfig(
        str(folder),
        **{
            "per_device_train_batch_size": 8,
            "num_generations": 4,
            "max_completion_length": 8,
            "updates_per_rollout": 2,
            "learning_rate": 3e-3,
            "max_steps": 8,
            "save_strategy": "no",
            "report_to": [],
            "use_cpu": True,
            "disable_tqdm": True,
            "bf16": False,
            "logging_steps": 1,
            **settings,
        },
    )
    made = Recording(
        model,
        lambda completions, **_: [float(sum(map(ord, c)) % 5) for c in completions],
        args,
        train_dataset=Dataset.from_list([{"prompt": p} for p in PROMPTS]),
        processing_class=tokenizer,
        peft_config=peft_config(lora) if lora else None,
    )
    made.rollouts = []
    return made


def scored(model, rollout, temperature=1.0):
    """Log-probabilities of the completions by a forward pass of nobody's but the model's own."""
    ids = torch.cat([rollout["prompt_ids"], rollout["completion_ids"]], 1)
    mask = torch.cat([rollout["prompt_mask"], rollout["completion_mask"]], 1)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
    rows = (logits[:, :-1] / temperature).log_softmax(-1)
    every = rows.gather(2, ids[:, 1:, None])[..., 0]
    return every[:, -rollout["completion_ids"].size(1) :]


@pytest.mark.parametrize(
    ("lag", "updates", "lora"), [(1, 2, None), (2, 2, Lora(rank=2)), (3, 1, None), (9, 2, None)]
)
def test_completions_and_old_log_probs_are_those_of_the_policy_of_then(
    tmp_path, lag, updates, lora
):
    """Compared with a trainer that never had other weights than the copy kept for this test."""
    late = trainer(
        tmp_path / "late", lora, staleness=lag, updates_per_rollout=updates, max_steps=5 * updates
    )
    late.train()
    other = trainer(tmp_path / "other", lora)
    other.model.train()
    assert len(late.rollouts) == 5
    moved = 0
    for index, rollout in enumerate(late.rollouts):
        past = late.rollouts[max(0, index - lag)].weights
        other.model.load_state_dict(past)
        torch.set_rng_state(rollout.random)
        drawn = other._generate_and_score_completions(rollout.inputs)
        assert torch.equal(drawn["completion_ids"], rollout.output["completion_ids"])
        kept = rollout.output["completion_mask"].bool()
        expected = scored(other.model, rollout.output)
        torch.testing.assert_close(
            rollout.output["old_per_token_logps"][kept], expected[kept], rtol=0, atol=1e-4
        )
        other.model.load_state_dict(rollout.weights)
        current = scored(other.model, rollout.output)
        moved += (current - expected)[kept].abs().max().item() > 1e-2
        assert any(not torch.equal(past[n], w) for n, w in rollout.weights.items()) == (index > 0)
    assert moved == 4  # every rollout but the first is another policy's


def test_the_loss_sees_the_ratio_to_the_policy_of_then(tmp_path):
    """With one update per rollout too, where TRL takes the old policy for the current one."""
    late = trainer(tmp_path, staleness=1, updates_per_rollout=1, max_steps=3)
    seen = []
    late.token_sink = lambda step, batch, live: seen.append((step, batch, live))
    late.train()
    for step, batch, live in seen:
        ratios = (batch.log_probs - batch.old_log_probs)[batch.mask & live[:, None]].abs()
        assert ratios.max() < MAX_LOG_RATIO
        assert (ratios.max() > 1e-3) == (step > 0)


def test_after_the_rollout_the_current_weights_are_back(tmp_path):
    """Training goes on from where it was, so the weights of one rollout are an update from the last."""
    late = trainer(tmp_path, staleness=2, learning_rate=0.0)
    late.train()
    first, *others = (rollout.weights for rollout in late.rollouts)
    assert all(torch.equal(first[name], other[name]) for other in others for name in first)
    model = torch.nn.Linear(2, 1)
    past = PastPolicies(model, 1)
    for value in (1.0, 2.0, 3.0):
        model.weight.data.fill_(value)
        with past.in_place():
            assert model.weight.unique().item() == max(1.0, value - 1)
        assert model.weight.unique().item() == value
    assert [kept["weight"].unique().item() for kept in past.state()] == [3.0]


def test_an_evaluation_of_trls_is_by_the_current_policy(tmp_path):
    late = trainer(tmp_path, staleness=1)
    late.train()
    late.model.eval()
    kept = len(late._past.state())
    late._generate_and_score_completions([{"prompt": p} for p in PROMPTS])
    assert len(late._past.state()) == kept


# --- what is refused, and what is said -----------------------------------------------------------


def test_the_weights_kept_have_a_budget(tmp_path):
    model = torch.nn.Linear(256, 1024, bias=False)  # 1 MiB in float32
    check_budget(model, 3, 4 / 1024)
    with pytest.raises(InputError, match=r"5 copies of the 262,144 .* 0\.00488 GiB .* allows 0\.0"):
        check_budget(model, 4, 4 / 1024)
    model.weight.requires_grad_(False)
    check_budget(model, 4, 0)
    with pytest.raises(InputError, match=r"staleness_budget_gib allows 0\.001"):
        trainer(tmp_path, staleness=4, staleness_budget_gib=0.001)
    trainer(tmp_path, Lora(rank=1), staleness=4, staleness_budget_gib=0.001)


def test_a_recipe_is_refused_before_its_first_evaluation():
    words = ["rollout.staleness=4", "trl.staleness_budget_gib=0.001"]
    model, _ = load_model("embedded")
    with pytest.raises(InputError, match="lower the staleness"):
        check_model(load_recipe("quickstart", words), model)
    check_model(load_recipe("quickstart", [*words, "model.lora={rank: 1}"]), model)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rollout.engine=vllm"], "set rollout.engine to transformers"),
        (["trl.staleness=2"], "trl.staleness is decided by rollout.staleness"),
    ],
)
def test_what_cannot_be_stale_is_refused_in_one_sentence(tmp_path, words, said):
    chosen = load_recipe("quickstart", ["rollout.staleness=4", *words])
    with pytest.raises(InputError, match=re.escape(said)):
        trl_config(chosen, tmp_path)
    with pytest.raises(InputError, match="must be at least 0"):
        MASPOConfig(str(tmp_path), staleness=-1, use_cpu=True, bf16=False)


def test_the_budget_alone_would_do_nothing(tmp_path):
    chosen = load_recipe("quickstart", ["trl.staleness_budget_gib=1"])
    with pytest.raises(InputError, match=r"would do nothing without rollout\.staleness"):
        trl_config(chosen, tmp_path)


def test_verl_has_trainers_of_its_own_for_stale_data(tmp_path):
    chosen = load_recipe("quickstart", ["rollout.staleness=4"])
    with pytest.raises(InputError, match="use its own asynchronous trainers"):
        overrides(chosen, Cluster(), tmp_path)


def test_the_plan_says_whose_completions_they_are():
    words = ["training.updates_per_rollout=1"]
    fresh = plan(load_recipe("quickstart", words))
    assert any(INERT in line for line in fresh) and not any("stale" in line for line in fresh)
    stale = plan(load_recipe("quickstart", [*words, "rollout.staleness=4"]))
    (line,) = (line for line in stale if line.startswith("staleness"))
    assert "drawn by the policy of 4 rollouts ago, whose log-probabilities are the old ones" in line
    assert not any(INERT in line for line in stale)


def test_with_one_update_on_stale_data_no_gate_is_called_inert(tmp_path, recwarn):
    trl_config(load_recipe("quickstart", ["rollout.staleness=1"]), tmp_path)
    words = ["rollout.staleness=1", "training.updates_per_rollout=1"]
    args = trl_config(load_recipe("quickstart", words), tmp_path, strict=True)
    assert args.staleness == 1 and not [w for w in recwarn if INERT in str(w.message)]


# --- corrections and controls --------------------------------------------------------------------


def test_a_correction_makes_up_for_the_policy_that_drew_the_rollout(tmp_path):
    """Ratios start at 1, and the weight of a token is the ratio of the two policies, held at a bound."""
    late = trainer(
        tmp_path, staleness=1, correction={"mode": "token_truncate", "low": None, "high": 1.1},
        max_steps=6, objective="grpo",
    )  # fmt: skip
    seen = []
    compute = late._compute_loss
    late._compute_loss = lambda model, inputs: (seen.append(dict(inputs)), compute(model, inputs))[
        1
    ]
    batches = []
    late.token_sink = lambda step, batch, live: batches.append(batch)
    late.train()
    other = trainer(tmp_path / "other")
    other.model.train()
    for index, inputs in enumerate(seen):
        rollout = index // 2
        kept = inputs["completion_mask"].bool()
        other.model.load_state_dict(late.rollouts[max(0, rollout - 1)].weights)
        drawn = scored(other.model, inputs)
        other.model.load_state_dict(late.rollouts[rollout].weights)
        start = scored(other.model, inputs)
        expected = (start - drawn).exp().clamp(max=1.1)
        torch.testing.assert_close(
            inputs["rollout_weights"][kept], expected[kept], rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(
            inputs["old_per_token_logps"][kept], start[kept], rtol=0, atol=1e-4
        )
        assert (rollout == 0) == bool((expected[kept] - 1).abs().max() < 1e-4)


def test_a_correction_needs_stale_data(tmp_path):
    with pytest.raises(InputError, match=r"correction would do nothing without rollout\.staleness"):
        load_recipe("quickstart", ["rollout.correction={mode: token_mask}"])
    words = ["rollout.staleness=2", "rollout.correction={mode: token_mask, high: 3}"]
    args = trl_config(load_recipe("quickstart", words), tmp_path)
    assert args.correction == {"mode": "token_mask", "low": None, "high": 3.0}
    assert any(
        "correct for (token_mask)" in line for line in plan(load_recipe("quickstart", words))
    )


def test_what_bounds_stale_data_is_reachable_from_a_recipe(tmp_path):
    words = ["objective={name: maspo, cap: 3, soft_cap: true, off_policy_threshold: 0.5}"]
    objective = trl_config(load_recipe("quickstart", words), tmp_path).objective
    assert (objective.cap, objective.soft_cap, objective.off_policy_threshold) == (3, True, 0.5)


def test_the_norm_of_another_objective(tmp_path):
    """The direction stays, the root mean square becomes GRPO's: by hand over the tokens of a batch."""
    g = torch.Generator().manual_seed(0)
    old = -torch.rand(4, 6, generator=g, dtype=torch.float64) - 0.5
    new = old + 0.4 * torch.randn(4, 6, generator=g, dtype=torch.float64).clamp(max=1)
    advantages = torch.tensor([1.0, -1.0, 0.5, 0.0], dtype=torch.float64)
    batch = TokenBatch.clean(new, old, advantages, torch.ones(4, 6))
    maspo, grpo = make_objective("maspo", sigma_base=0.3), make_objective("grpo")
    own, other = (apply_objective(each, batch).slopes for each in (maspo, grpo))
    found = apply_objective(maspo, batch, match_norm=grpo)
    assert float(found.slopes.norm()) == pytest.approx(float(other.norm()), rel=1e-12)
    torch.testing.assert_close(found.slopes / found.slopes.norm(), own / own.norm())
    torch.testing.assert_close(found.weights * advantages[:, None], found.slopes)
    assert torch.equal(apply_objective(grpo, batch, match_norm=grpo).slopes, other)
    halves = apply_objective(
        maspo, dataclasses.replace(batch, sum_over_processes=lambda x: 2 * x), match_norm=grpo
    )
    torch.testing.assert_close(halves.slopes, found.slopes)  # two processes of the same tokens
    still = TokenBatch.clean(old, old, 0 * advantages, torch.ones(4, 6))
    assert not apply_objective(maspo, still, match_norm=grpo).slopes.any()


def test_a_run_at_the_norm_of_another_objective_trains_by_it(tmp_path):
    words = ["training.match_norm=grpo", "objective={name: maspo, sigma_base: 0.1}"]
    args = trl_config(load_recipe("quickstart", words), tmp_path)
    assert args.match_norm == make_objective("grpo")
    lines = plan(load_recipe("quickstart", words))
    assert any("scaled to the norm of GRPO()" in line for line in lines)
    norms = []
    for matched in ("grpo", None):
        made = trainer(
            tmp_path / str(matched), objective=make_objective("maspo", sigma_base=0.01),
            match_norm=matched and make_objective(matched), learning_rate=3e-4, max_steps=2,
            updates_per_rollout=2,
        )  # fmt: skip
        made.train()
        norms.append([row["grad_norm"] for row in made.state.log_history if "grad_norm" in row])
    assert norms[0][0] == pytest.approx(norms[1][0], rel=1e-5)  # all ratios are 1
    assert norms[0][1] > 1.005 * norms[1][1]  # a narrow gate takes much, which is made up for
