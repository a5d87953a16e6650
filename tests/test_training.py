"""From a recipe to TRL's settings."""

import importlib.util
import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from transformers import Trainer

import maspo
from maspo.engines.engine import Launch
from maspo.engines.trl import translate
from maspo.engines.trl.engine import ENGINE
from maspo.engines.trl.extras import NEEDS, OVERRIDABLE, OWNED, WITHOUT_EFFECT
from maspo.engines.trl.translate import in_bfloat16, trl_config
from maspo.errors import InputError
from maspo.recipes import Recipe, load_recipe, recipe_fields
from maspo.sampling import with_vllm


def config(tmp_path, *settings):
    """Translate the quickstart with changes."""
    return trl_config(load_recipe("quickstart", settings), tmp_path)


def test_a_rollout_is_dealt_out_as_the_plan_says(tmp_path):
    args = config(
        tmp_path, "rollout.prompts=16", "rollout.samples=4", "training.updates_per_rollout=2",
        "training.micro_batch=8", "training.rollouts=5",
    )  # fmt: skip
    assert args.generation_batch_size == 64 and args.num_generations == 4
    assert args.updates_per_rollout == 2 and args.max_steps == 10
    assert args.gradient_accumulation_steps == 4 and args.steps_per_generation == 8


@pytest.mark.parametrize(
    ("reduction", "loss_type"),
    [
        ("token-mean", "dapo"),
        ("seq-mean-token-mean", "grpo"),
        ("seq-mean-token-sum", "luspo"),
        ("seq-mean-token-sum-norm", "dr_grpo"),
    ],
)
def test_reductions_are_trls_normalisers(tmp_path, reduction, loss_type):
    assert config(tmp_path, f"training.reduction={reduction}").loss_type == loss_type


def test_the_objective_reaches_the_trainer_as_a_value(tmp_path):
    args = config(tmp_path, "objective={name: sapo, tau_pos: 0.5}")
    assert args.objective == maspo.SAPO(tau_pos=0.5)
    assert "tau_pos=0.5" in args.to_dict()["objective"]


def test_settings_of_trl_pass_through_unless_the_recipe_decides_them(tmp_path):
    assert config(tmp_path, "trl={entropy_coef: 0.5}").entropy_coef == 0.5


def test_every_setting_that_a_recipe_owns_names_the_place(tmp_path, monkeypatch):
    decided = set()
    with monkeypatch.context() as spied:
        spied.setattr(translate, "refuse_extras", lambda _, names: decided.update(names))
        config(tmp_path)
    assert decided <= {*OWNED, *OVERRIDABLE}
    known = {*Recipe.model_fields, *(one.key for one in recipe_fields())}
    for name, place in OWNED.items():
        key = place.partition(" and ")[0]
        assert key in known or key.partition(".")[0] not in Recipe.model_fields
        with pytest.raises(maspo.InputError, match=re.escape(f"trl.{name} is decided by {place}")):
            config(tmp_path, f"trl={{{name}: 2}}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["trl.eval_strategy=steps", "trl.eval_steps=1"],
            "eval_strategy would do nothing: TRL evaluates",
        ),
        (
            ["trl.load_best_model_at_end=true"],
            "load_best_model_at_end would do nothing: TRL evaluates",
        ),
        (["trl.epsilon=0.2"], "epsilon would do nothing: it is of TRL's own losses"),
        (["trl.vllm_mode=colocate"], "vllm_mode would do nothing without rollout.engine: vllm"),
        (["trl.sync_ref_model=true"], "sync_ref_model would do nothing without training.kl"),
        (
            ["trl.entropy_target=0.5"],
            "entropy_target would do nothing without trl.use_adaptive_entropy",
        ),
        (["trl.log_unique_prompts=true"], "would do nothing without trl.log_completions"),
        (["trl.nonsense=1"], "unknown setting of TRL 'nonsense'"),
    ],
)
def test_settings_of_trl_without_effect_are_refused(tmp_path, words, said):
    with pytest.raises(maspo.InputError, match=re.escape(said)):
        config(tmp_path, *words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trl.vllm_mode=server"], "trl.vllm_mode: server makes rollouts alone"),
        (["trl.vllm_tensor_parallel_size=2"], "vllm_tensor_parallel_size above 1 makes rollouts"),
    ],
)
def test_a_vllm_that_cannot_evaluate_is_refused_before_anything_is_loaded(
    tmp_path, monkeypatch, words, said
):
    monkeypatch.setattr(with_vllm, "check_installed", lambda: None)
    recipe = load_recipe("quickstart", ["rollout.engine=vllm", *words])
    with pytest.raises(maspo.InputError, match=re.escape(said)):
        ENGINE.check(recipe, Launch(), tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_rollouts_of_vllm_without_it_are_refused(tmp_path):
    recipe = load_recipe("quickstart", ["rollout.engine=vllm"])
    with pytest.raises(maspo.InputError, match=r"needs a package: pip install 'maspo\[vllm\]'"):
        ENGINE.check(recipe, Launch(), tmp_path)


def test_what_a_setting_needs_may_be_given(tmp_path):
    args = config(tmp_path, "trl={log_completions: true, log_unique_prompts: true}")
    assert args.log_unique_prompts
    assert config(tmp_path, "training.kl=0.1", "trl={sync_ref_model: true}").sync_ref_model
    assert {*WITHOUT_EFFECT, *NEEDS, *OWNED} <= {field.name for field in fields(args)}


@pytest.mark.skipif(torch.accelerator.is_available(), reason="a GPU decides by itself")
def test_on_a_cpu_bfloat16_is_for_models_that_gain_by_it(tmp_path):
    """By what Linux says of the processor; from 10M parameters on, as benchmarks/update.py measured."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        pytest.skip("no /proc/cpuinfo")
    able = "avx512_bf16" in cpuinfo.read_text()
    recipe = load_recipe("quickstart")
    assert not trl_config(recipe, tmp_path, parameters=460_000).bf16
    assert trl_config(recipe, tmp_path, parameters=135_000_000).bf16 == able
    assert config(tmp_path, "training.precision=bfloat16").bf16
    assert in_bfloat16("bfloat16", 1) and not in_bfloat16("float32", 10**9)


def test_the_optimizer_of_a_recipe_is_that_of_training(tmp_path):
    settings = ["training.optimizer={betas: [0.8, 0.95], eps: 1e-6, name: adamw}"]
    args = config(tmp_path, *settings)
    model = torch.nn.Linear(2, 2)
    kind, given = Trainer.get_optimizer_cls_and_kwargs(args, model)
    made = kind(model.parameters(), **given).defaults
    assert (kind, made["betas"], made["eps"]) == (torch.optim.AdamW, (0.8, 0.95), 1e-6)
    fused = config(tmp_path)
    assert Trainer.get_optimizer_cls_and_kwargs(fused, model)[1]["fused"] is True
    if importlib.util.find_spec("bitsandbytes") is None:
        with pytest.raises(
            InputError, match="adamw_8bit needs a package: pip install bitsandbytes"
        ):
            config(tmp_path, "training.optimizer.name=adamw_8bit")
    with pytest.raises(InputError, match=r"decided by training\.optimizer\.betas"):
        config(tmp_path, "trl.adam_beta2=0.9")
