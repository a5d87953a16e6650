"""From a recipe to TRL's settings."""

from pathlib import Path

import pytest
import torch

import maspo
from maspo.engines.trl.training import in_bfloat16, trl_config
from maspo.recipes import load_recipe


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
    assert config(tmp_path, "trl={adam_beta1: 0.8}").adam_beta1 == 0.8
    with pytest.raises(maspo.InputError, match=r"trl\.num_iterations is decided by the rest"):
        config(tmp_path, "trl={num_iterations: 2}")


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
