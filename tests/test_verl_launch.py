"""From a recipe to verl's command: what is translated, what is refused, and that verl takes it.

The first part needs no verl. The second composes verl's own configuration where verl is installed.
"""

import dataclasses
import json
import shlex
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml

from maspo import InputError
from maspo.data import Problem
from maspo.engines.verl import SUPPORTED
from maspo.engines.verl.cluster import Cluster
from maspo.engines.verl.export import verl_rows, write_parquet, write_problems
from maspo.engines.verl.grammar import hydra
from maspo.engines.verl.launch import check_files, command, printed, submission
from maspo.engines.verl.ray_cluster import check_submission, running_cluster
from maspo.engines.verl.reward import compute_score
from maspo.engines.verl.translate import overrides
from maspo.recipes import load_recipe, shipped_recipes

FOLDER = Path("/run")
ACTOR = "actor_rollout_ref.actor"
needs_verl = pytest.mark.skipif(find_spec("verl") is None, reason="verl is not installed")


def translated(recipe="quickstart", *changes, **cluster):
    """Give the overrides of a recipe as a dictionary of texts."""
    settings = overrides(load_recipe(recipe, changes), Cluster(**cluster), FOLDER)
    return dict(text.split("=", 1) for text in settings)


def test_the_papers_setup_in_verls_words():
    found = translated("dapo-math-r1-qwen-7b", gpus_per_node=8, nodes=2, backend="fsdp")
    expected = {
        "data.train_batch_size": "512",
        f"{ACTOR}.ppo_mini_batch_size": "32",  # 16 updates
        f"{ACTOR}.ppo_epochs": "1",
        f"{ACTOR}.use_dynamic_bsz": "true",
        f"{ACTOR}.ppo_max_token_len_per_gpu": "18432",
        "actor_rollout_ref.rollout.n": "8",
        "data.max_prompt_length": "1024",
        "data.max_response_length": "8192",
        f"{ACTOR}.optim.lr": "1e-06",
        f"{ACTOR}.optim.clip_grad": "1.0",
        f"{ACTOR}.loss_agg_mode": "token-mean",
        f"{ACTOR}.use_kl_loss": "false",
        f"{ACTOR}.strategy": "fsdp",
        "algorithm.adv_estimator": "grpo",
        "algorithm.norm_adv_by_std_in_grpo": "true",
        f"+{ACTOR}.policy_loss.objective": "{name:maspo,alpha:0.3}",
        "actor_rollout_ref.model.path": "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
        "actor_rollout_ref.model.enable_gradient_checkpointing": "true",
        "actor_rollout_ref.rollout.val_kwargs.n": "32",
        "trainer.total_training_steps": "100",
        "trainer.save_freq": "20",
        "trainer.nnodes": "2",
        "trainer.n_gpus_per_node": "8",
        "data.train_files": "/run/data/train.parquet",
    }
    assert {key: found[key] for key in expected} == expected


def test_every_field_of_a_recipe_changes_the_command_or_is_known_not_to():
    """A field that was forgotten in the translation would do nothing, silently."""
    changes = {
        "name": "other", "seed": "7", "model.source": "owner/name", "model.dtype": "bfloat16",
        "model.lora": "{rank: 4}", "model.chat_template_kwargs": "{enable_thinking: false}",
        "data.max_prompt_tokens": "99", "objective.alpha": "0.4",
        "rollout.prompts": "64", "rollout.samples": "16", "rollout.temperature": "0.7",
        "rollout.top_p": "0.9", "rollout.max_completion_tokens": "99", "training.rollouts": "9",
        "training.updates_per_rollout": "2", "training.micro_batch": "32",
        "training.learning_rate": "1e-5", "training.schedule": "cosine", "training.kl": "0.1",
        "training.weight_decay": "0.1", "training.optimizer.name": "adamw",
        "training.optimizer.betas": "[0.8, 0.9]", "training.optimizer.eps": "1e-6",
        "training.max_grad_norm": "0.5",
        "training.reduction": "seq-mean-token-sum-norm", "training.advantages": "center",
        "training.precision": "float32", "training.gradient_checkpointing": "true",
        "training.save_every": "3", "training.keep": "3",
        "evaluation.samples": "3", "evaluation.temperature": "0.5",
        "evaluation.top_p": "0.5", "evaluation.every": "3", "reward.time_limit": "9", "reward.workers": "9",
        "reward.verifier": "math-verify", "training.coupling": "micro_batch",
        "reward.functions": "[{source: mine.py:f}]",
        "verl": "{trainer.balance_batch: false}", "tracker": "wandb",
    }  # fmt: skip
    elsewhere = {
        "model.chat_template",  # refused
        "push_to_hub",  # of the other engine; the command says so
        "about", "rollout.engine",  # --rollout
        "training.warmup_steps",  # tested below, goes with a schedule
        "evaluation.batch_size",  # verl's server decides
        "evaluation.keep_best", "rollout.staleness", "training.match_norm",  # refused, tested below
        "rollout.correction",  # goes with staleness
        "model.quantization",  # refused, tested below
        "trl",  # of the other engine; the command says so
        "training.save_tokens",  # of the other engine, as its description says
        *(f"{part}.{key}" for part in ("data", "evaluation.data")  # in the files that are written
          for key in ("source", "split", "limit", "seed", "template", "columns", "options")),
        "reward.threshold",  # needs functions without verdicts; tested below
    }  # fmt: skip
    fields = load_recipe("quickstart").model_dump()

    def names(section, prefix=""):
        for key, value in section.items():
            if (
                isinstance(value, dict)
                and value
                and prefix + key not in ("objective", "trl", "verl")
            ):
                yield from names(value, f"{prefix}{key}.")
            else:
                yield "objective.alpha" if key == "objective" else prefix + key

    assert set(names(fields)) == set(changes) | elsewhere
    base = translated()
    for key, value in changes.items():
        assert translated("quickstart", f"{key}={value}") != base, key


@pytest.mark.parametrize(
    ("changes", "cluster", "message"),
    [
        (
            ["rollout.prompts=6", "training.micro_batch=4"],
            {},
            "6 prompts cannot be divided into 4 updates",
        ),
        ([], {"gpus_per_node": 3}, "3 processes x micro_batch 64 does not divide"),
        ([], {"backend": "deepspeed"}, "--backend must be one of fsdp, fsdp2, megatron"),
        ([], {"rollout": "hf"}, "--rollout must be one of vllm, sglang"),
        ([], {"nodes": 0}, "must be positive"),
        (["model.source=x.gguf"], {}, "verl reads no .gguf files"),
        (["model.chat_template=plain"], {}, "the chat template of the model's folder"),
        (["training.advantages=sas"], {}, "training.advantages"),
        (["training.schedule=linear"], {}, "no linear schedule"),
        (["rollout.staleness=4"], {}, "use its own asynchronous trainers"),
        (["model.quantization=4bit", "model.lora={}"], {}, "with verl leave it out"),
        (["training.match_norm=grpo"], {}, "a control of races, which train with TRL"),
        (["evaluation.every=2", "evaluation.keep_best=true"], {}, "verl keeps no best model"),
        (["training.warmup_steps=5", "training.schedule=cosine"], {}, "must be a multiple of"),
        (["training.warmup_steps=8"], {}, "warmup_steps do nothing under constant"),
        (["model.lora={dropout: 0.1}"], {}, "no dropout"),
        (["model.lora={rank: 4}"], {"backend": "megatron"}, "adapters with megatron"),
        (["training.precision=float32"], {"backend": "megatron"}, "megatron computes in bfloat16"),
        (["objective={name: real}"], {}, "needs groups, which verl does not hand"),
        (["objective={name: clip_cov}"], {"gpus_per_node": 1, "backend": "fsdp"}, None),
        (
            ["objective={name: clip_cov}", "training.micro_batch=32"],
            {},
            "verl would hand it 32 at a time; use one micro-batch per update, or say .*coupling=micro",
        ),
        (
            ["objective={name: bapo}", f"verl.{ACTOR}.use_dynamic_bsz=true"],
            {},
            "verl would hand it micro-batches by their tokens",
        ),
        (
            ["verl.data.train_batch_size=9"],
            {},
            r"verl.data.train_batch_size is decided by rollout.prompts",
        ),
        (
            [f"verl.{ACTOR}.policy_loss.objective.alpha=0.5"],
            {},
            "is decided by objective; set that",
        ),
        (["verl.~trainer.save_freq=3"], {}, "is decided by training.save_every"),
        (
            ["verl.trainer.test_freq=9", "evaluation.every=3"],
            {},
            "verl.trainer.test_freq is decided by evaluation.every",
        ),
        (["verl.trainer.default_local_dir=/x"], {}, "default_local_dir is decided by --out"),
        (["verl.data.prompt_key=question"], {}, "prompt_key is decided by data.source"),
        (["verl.model_engine=megatron"], {}, "model_engine is decided by --backend"),
        (["model.source='/x/${HOME}'"], {}, r"verl would expand the \$\{...\} in '/x/\$\{HOME\}'"),
        (
            ["verl.actor_rollout_ref.rollout.tensor_model_parallel_size=3"],
            {"gpus_per_node": 4},
            "4 GPUs cannot be divided into groups of 3: see actor_rollout_ref.rollout.tensor",
        ),
        (
            [f"verl.{ACTOR}.fsdp_config.ulysses_sequence_parallel_size=0"],
            {},
            "ulysses_sequence_parallel_size must be a positive whole number, not 0",
        ),
        (
            [f"verl.{ACTOR}.fsdp_config.ulysses_sequence_parallel_size=two"],
            {},
            "must be a positive whole number, not 'two'",
        ),
        (
            [f"verl.{ACTOR}.fsdp_config.ulysses_sequence_parallel_size=3"],
            {"gpus_per_node": 4},
            "4 GPUs cannot be divided into groups of 3",
        ),
    ],
)
def test_what_cannot_be_translated_is_one_sentence(changes, cluster, message):
    if message is None:  # one process and one micro-batch: the whole mini-batch
        assert translated("quickstart", *changes, **cluster)
        return
    with pytest.raises(InputError, match=message):
        translated("quickstart", *changes, **cluster)


def test_settings_of_verl_pass_through_and_may_replace_what_is_only_suggested():
    found = translated(
        "quickstart",
        f"verl.{ACTOR}.entropy_coeff=0.001",
        "verl.trainer.logger=[console, wandb]",
        "training.schedule=constant_with_warmup",
        "training.warmup_steps=8",
    )
    assert found[f"{ACTOR}.entropy_coeff"] == "0.001"
    assert found["trainer.logger"] == "[console,wandb,file]"  # the last for the folder of the run
    assert found[f"{ACTOR}.optim.lr_warmup_steps"] == "2"  # verl counts rollouts
    assert found[f"{ACTOR}.optim.lr_scheduler_type"] == "constant"


@pytest.mark.parametrize(
    ("changes", "expected", "absent"),
    [
        (
            ["verl.trainer.test_freq=5", "verl.trainer.val_before_train=false"],
            {"trainer.test_freq": "5", "trainer.val_before_train": "false"},
            (),
        ),
        (["evaluation.every=7"], {"trainer.test_freq": "7"}, ()),
        (
            [
                "verl.data.train_files=[/a.parquet,/b.parquet]",
                "verl.data.val_files=/c.parquet",
                "verl.data.prompt_key=question",
            ],
            {"data.train_files": "[/a.parquet,/b.parquet]", "data.val_files": "/c.parquet"}
            | {"data.prompt_key": "question"},
            (),
        ),
        (
            ["verl.reward.custom_reward_function.path=/mine.py"],
            {"reward.custom_reward_function.path": "/mine.py"},
            ("+reward.custom_reward_function.reward_kwargs",),
        ),
        (
            ["verl.reward.reward_manager.name=dapo"],
            {"reward.reward_manager.name": "dapo"},
            ("reward.reward_manager.source", "reward.reward_manager.module.path"),
        ),
        ([f"verl.{ACTOR}.ppo_epochs=2"], {f"{ACTOR}.ppo_epochs": "2"}, ()),
        (
            [f"verl.{ACTOR}.loss_agg_mode=token-sum"],
            {
                f"{ACTOR}.loss_agg_mode": "token-sum",
                f"+{ACTOR}.policy_loss.reduction": "token-sum",
            },
            (),
        ),
        (
            ["training.kl=0.1", f"verl.{ACTOR}.kl_loss_type=mse"],
            {f"{ACTOR}.kl_loss_type": "mse", f"{ACTOR}.kl_loss_coef": "0.1"},
            (),
        ),
        (
            ["verl.algorithm.use_kl_in_reward=true"],
            {"algorithm.use_kl_in_reward": "true"},
            (),
        ),
        (
            ["verl.algorithm.adv_estimator=gae"],
            {"algorithm.adv_estimator": "gae"},
            (f"+{ACTOR}.policy_loss.advantages", "algorithm.norm_adv_by_std_in_grpo"),
        ),
        (
            [f"verl.{ACTOR}.use_dynamic_bsz=true", "training.micro_batch=3", "rollout.samples=3"],
            {f"{ACTOR}.use_dynamic_bsz": "true"},
            (f"{ACTOR}.ppo_micro_batch_size_per_gpu",),
        ),
        (["training.save_every=null"], {"trainer.save_freq": "80"}, ()),  # at the end, as TRL does
        (
            ["verl.actor_rollout_ref.rollout.name=mine"],
            {"actor_rollout_ref.rollout.name": "mine"},
            (),
        ),
        (["verl={+a: {}}"], {"+a": "{}"}, ()),
        (
            ["objective=entropy_advantage"],
            {f"{ACTOR}.calculate_entropy": "true"},
            (),
        ),
    ],
)
def test_what_no_key_of_a_recipe_leads_to_is_verls_to_set(changes, expected, absent):
    found = translated("quickstart", "training.rollouts=80", *changes)
    assert {key: found[key] for key in expected} == expected
    assert not set(absent) & set(found)


def test_settings_of_the_other_backend_are_left_out_and_said():
    from maspo.engines.verl.translate import unused

    key = f"{ACTOR}.fsdp_config.param_offload"
    change = f"verl.{key}=true"
    assert translated("quickstart", change)[key] == "true"
    assert key not in translated("quickstart", change, backend="megatron")
    recipe = load_recipe("quickstart", [change])
    assert f"verl.{key} does nothing with --backend megatron" in unused(
        recipe, Cluster(backend="megatron")
    )
    assert not any(key in said for said in unused(recipe, Cluster()))


def test_objectives_that_couple_the_batch_on_many_gpus():
    """All processes' micro-batches count together: one each is the whole update."""
    changes = ["objective=bapo", "rollout.prompts=32", "rollout.samples=8"]
    changes += ["training.updates_per_rollout=4"]  # 64 completions an update
    assert translated("quickstart", *changes, "training.micro_batch=16", gpus_per_node=4)
    parts = [*changes, "training.micro_batch=8"]
    with pytest.raises(InputError, match="hand it 32 at a time"):
        translated("quickstart", *parts, gpus_per_node=4)
    key = f"+{ACTOR}.policy_loss.coupling"
    found = translated("quickstart", *parts, "training.coupling=micro_batch", gpus_per_node=4)
    assert found[key] == "micro_batch"


def test_model_parallel_processes_share_a_micro_batch():
    key = f"verl.{ACTOR}.megatron.tensor_model_parallel_size"
    with pytest.raises(InputError, match="2 processes x micro_batch 64 does not divide"):
        translated("quickstart", gpus_per_node=2, backend="megatron")
    assert translated("quickstart", f"{key}=2", gpus_per_node=2, backend="megatron")


def test_commands_can_be_pasted():
    settings = ["a.b=1", "+c={name:maspo,alpha:0.5}", "d=it's"]
    shown = printed(command(settings))
    echo = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {shown}"], capture_output=True, text=True, check=True
    )
    assert echo.stdout.splitlines() == [sys.executable, "-m", "verl.trainer.main_ppo", *settings]


def test_a_job_for_a_running_cluster():
    assert command(["a=1"], elsewhere=True) == ["python3", "-m", "verl.trainer.main_ppo", "a=1"]
    words = submission("http://127.0.0.1:8265", Path("/runs/x y"))
    assert words[:4] == ["ray", "job", "submit", "--address=http://127.0.0.1:8265"]
    assert words[4:] == ["--", "bash", "/runs/x y/command.sh"]
    for join in (
        shlex.join,
        subprocess.list2cmdline,
    ):  # as new and old versions of Ray hand them on
        echo = f"printf '%s\\n' {join(words[5:])}"
        shown = subprocess.run(["sh", "-c", echo], capture_output=True, text=True, check=True)
        assert shown.stdout.splitlines() == ["bash", "/runs/x y/command.sh"]


@pytest.mark.parametrize(
    ("address", "folder", "message"),
    [
        ("ray://head:10001", "/run", "dashboard, as http://HOST:8265, not ray://head:10001"),
        ("http://127.0.0.1:8265", "/run$HOME", r"--out must do without '\$' for --submit"),
        (
            "http://127.0.0.1:1",
            "/run",
            "no cluster of Ray's answers at http://127.0.0.1:1: .*refused",
        ),
    ],
)
def test_a_job_that_could_not_be_sent_is_one_sentence(address, folder, message):
    with pytest.raises(InputError, match=message):
        check_submission(address, Path(folder))


@needs_verl
@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
def test_a_cluster_is_found_as_ray_finds_it_and_one_that_is_gone_is_one_sentence(
    variable, tmp_path, monkeypatch
):
    for name in ("RAY_ADDRESS", "RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    assert running_cluster() is None
    note = tmp_path / "ray" / "ray_current_cluster"
    note.parent.mkdir()
    with socket.create_server(("", 0)) as server:  # Ray puts the machine's address for 127.0.0.1
        port = server.getsockname()[1]
        note.write_text(f"127.0.0.1:{port}")
        assert running_cluster().endswith(f":{port}")
    with pytest.raises(InputError, match=f"{note} names a cluster .*; run `ray stop` or remove"):
        running_cluster()
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(
        InputError, match=r"RAY_ADDRESS names a cluster .* does not answer .*; unset it"
    ):
        running_cluster()


def test_the_reward_judges_one_response_with_the_same_keys_for_each():
    right = compute_score("x", r"so \boxed{42}", "42", {"index": 1}, workers=1)
    wrong = compute_score("x", r"so \boxed{41}", "42", {"relative": None}, workers=1)
    empty = compute_score("x", "no idea", "42", workers=1)
    assert right == {"score": 1.0, "acc": 1.0, "pred": "42", "outcome": "correct"}
    assert wrong == {"score": 0.0, "acc": 0.0, "pred": "41", "outcome": "wrong"}
    assert empty == {"score": 0.0, "acc": 0.0, "pred": "", "outcome": "unparsable"}


def test_an_error_of_a_users_function_keeps_its_type(tmp_path):
    text = "def away(**_):\n    raise ConnectionRefusedError(111, 'the judge is away')\n"
    (tmp_path / "mine.py").write_text(text)
    functions = [{"source": f"{tmp_path}/mine.py:away"}]
    with pytest.raises(ConnectionRefusedError, match="the judge is away") as caught:
        compute_score("x", "4", "4", functions=functions)
    assert caught.value.__notes__ == ["raised by the reward function away"]


def test_rows_in_verls_schema(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    prompt = ({"role": "user", "content": "2+2"},)
    problems = [
        Problem(id="a", prompt=prompt, answer="4"),
        Problem(id="b", prompt=prompt, answer={"answer": "9.81", "relative": 0.01, "unit": "m/s²"}),
    ]
    write_parquet(verl_rows(problems, "owner/name", "train"), tmp_path / "x" / "train.parquet")
    rows = parquet.read_table(tmp_path / "x" / "train.parquet").to_pylist()
    whole = {
        "id": "a",
        "prompt": [{"role": "user", "content": "2+2"}],
        "answer": "4",
        "columns": {},
    }
    assert json.loads(rows[0]["extra_info"].pop("problem")) == whole
    assert rows[0] == {
        "data_source": "owner/name",
        "prompt": [{"role": "user", "content": "2+2"}],
        "reward_model": {"style": "rule", "ground_truth": "4"},
        "extra_info": {"split": "train", "index": 0, "id": "a"},
    }
    for row, paid in zip(rows, (0.0, 1.0), strict=True):  # 9.80 m/s² is near enough for the second
        if "problem" not in row["extra_info"]:
            row["extra_info"]["problem"] = json.dumps(whole)
        gold = row["reward_model"]["ground_truth"]
        found = compute_score("x", r"\boxed{9.80}", gold, row["extra_info"], workers=1)
        assert found["score"] == paid


@pytest.mark.parametrize(
    "setting",
    [
        "data.source=/nowhere/a.jsonl",
        "evaluation.data.source=/nowhere/a.jsonl",
        "verl.data.train_files=[/nowhere/a.jsonl]",
        "verl.data.val_files=/nowhere/a.jsonl",
    ],
)
def test_files_of_problems_that_are_not_there(setting):
    own = ["evaluation=null"] if setting.startswith("data.") else []
    with pytest.raises(InputError, match=r"there is no file /nowhere/a\.jsonl"):
        check_files(load_recipe("quickstart", [*own, setting]))


def test_data_of_a_recipe(tmp_path):
    pytest.importorskip("pyarrow")
    recipe = load_recipe("quickstart", ["data.limit=40", "evaluation.data.limit=7"])
    written = write_problems(recipe, tmp_path)
    assert written == {tmp_path / "train.parquet": 40, tmp_path / "test.parquet": 7}
    (tmp_path / "train.parquet").unlink()
    with pytest.raises(InputError, match=r"test.parquet exists already"):
        write_problems(recipe, tmp_path)
    assert not (tmp_path / "train.parquet").exists()  # nothing is written before it is known
    assert len(write_problems(recipe, tmp_path, anew=True)) == 2
    with pytest.raises(InputError, match="takes 32 prompts, but there are only 8 problems"):
        write_problems(load_recipe("quickstart", ["data.limit=8"]), tmp_path / "other")


@pytest.mark.parametrize("place", ["data", "evaluation.data"])
def test_a_prompt_that_ends_with_the_assistant_is_refused_before_a_file_is_written(tmp_path, place):
    turns = [{"role": "user", "content": "1+1"}, {"role": "assistant", "content": "It is"}]
    rows = [{"prompt": turns[:1], "answer": "2"}, {"prompt": turns, "answer": "2", "id": "p7"}]
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = [
        "rollout.prompts=2", "training.micro_batch=4", f"{place}.source={source}", f"{place}.split=null",
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"prompt of problem .* ends with a turn of the assistant"):
        write_problems(load_recipe("quickstart", settings), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("installed", "message"),
    [("0.7.0", "verl 0.7.0 is installed, but"), ("0.10.0", "verl>=0.9.0,<=0.9.1")],
)
def test_untested_versions_are_refused(installed, message):
    with pytest.raises(InputError, match=message):
        SUPPORTED.check(installed)


READABLE = [name for name in shipped_recipes() if ".gguf" not in load_recipe(name).model.source]
"""The recipes whose weights verl reads."""


@needs_verl
@pytest.mark.parametrize("backend", ["fsdp", "fsdp2", "megatron"])
@pytest.mark.parametrize("name", READABLE)
def test_verl_composes_and_checks_every_shipped_recipe(name, backend):
    from maspo.engines.verl.compose import checked_objective, compose_config, updates_per_rollout

    recipe = load_recipe(name)
    small = recipe.completions <= 256
    cluster = Cluster(gpus_per_node=1 if small else 8, backend=backend)
    config = compose_config(overrides(recipe, cluster, FOLDER))
    assert checked_objective(config) == recipe.make_objective()
    assert updates_per_rollout(config) == recipe.training.updates_per_rollout


@needs_verl
@pytest.mark.parametrize("name", ["adamw", "adamw_fused"])
def test_verl_makes_the_optimizer_of_the_recipe(name):
    from verl.utils.config import omega_conf_to_dataclass
    from verl.workers.config.optimizer import build_optimizer

    from maspo.engines.verl.compose import compose_config

    asked = f"training.optimizer={{name: {name}, betas: [0.8, 0.95], eps: 1e-6}}"
    recipe = load_recipe("quickstart", [asked])
    config = compose_config(overrides(recipe, Cluster(), FOLDER))
    made = build_optimizer(
        torch.nn.Linear(2, 2).parameters(),
        omega_conf_to_dataclass(config.actor_rollout_ref.actor.optim),
    )
    assert type(made) is torch.optim.AdamW
    found = made.defaults
    assert (tuple(found["betas"]), found["eps"]) == ((0.8, 0.95), 1e-6)
    assert found["fused"] is (name == "adamw_fused")


@needs_verl
def test_megatron_gets_the_numbers_of_the_optimizer():
    from maspo.engines.verl.compose import compose_config

    recipe = load_recipe("quickstart", ["training.optimizer={betas: [0.8, 0.95], eps: 1e-6}"])
    config = compose_config(overrides(recipe, Cluster(backend="megatron"), FOLDER))
    found = config.actor_rollout_ref.actor.optim
    expected = {"adam_beta1": 0.8, "adam_beta2": 0.95, "adam_eps": 1e-6}
    assert dict(found.override_optimizer_config) == expected and list(found.betas) == [0.8, 0.95]
    with pytest.raises(InputError, match="megatron has no adamw_8bit"):
        translated("quickstart", "training.optimizer.name=adamw_8bit", backend="megatron")


@needs_verl
@pytest.mark.parametrize(
    "value",
    [1, 1e-6, True, None, "a b", "it's", r"\boxed{}", "x=1,y", "null", "1e-3", "é", ["a", 1]],
)
def test_values_survive_hydras_grammar(value):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (parsed,) = OverridesParser.create().parse_overrides([f"key={hydra({'k': value})}"])
    found = parsed.value()
    assert {str(k): v for k, v in found.items()} == {"k": value}


@needs_verl
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["trainer.total_epoch=1"], "no trainer.total_epoch; did you mean trainer.total_epochs"),
        ([f"{ACTOR}.policy_loss.alpha=0.5"], "verl's configuration has no"),
        ([f"+{ACTOR}.policy_loss.my_beta=0.5"], "unexpected keyword argument 'my_beta'"),
        ([f"+{ACTOR}.policy_loss.objective.alfa=1"], "hyperparameter of maspo 'alfa'"),
        (["algorithm.adv_estimator=rloo"], "policy_loss.advantages=group means algorithm.adv_es"),
        (
            ["algorithm.norm_adv_by_std_in_grpo=false"],
            "means algorithm.norm_adv_by_std_in_grpo=True, and that is False",
        ),
        ([f"{ACTOR}.loss_agg_mode=seq-mean-token-sum"], "reduction=token-mean contradicts actor"),
        ([f"{ACTOR}.clip_ratio_high=0.28"], "actor.clip_ratio_high belongs to verl's own"),
        ([f"{ACTOR}.ppo_mini_batch_size=4096"], "must be >="),
        (["trainer.use_v1=False"], "verl's old trainer"),
        (["trainer.v1.trainer_mode=separate_async"], "separate_async was never run with our losses"),
        (
            ["algorithm.rollout_correction.rollout_is=tokn"],
            "unknown algorithm.rollout_correction.rollout_is 'tokn'; did you mean 'token'",
        ),
        (
            ["algorithm.adv_estimator=grop", f"{ACTOR}.policy_loss.advantages=null"],
            "unknown algorithm.adv_estimator 'grop'; did you mean 'grpo'",
        ),
        ([f"+{ACTOR}.policy_loss.coupling=rank"], "unknown policy_loss.coupling 'rank'"),
        (
            [f"{ACTOR}.policy_loss._target_=verl.workers.config.PolicyLossConfig",
             *(f"~{ACTOR}.policy_loss.{key}" for key in ("objective", "advantages", "reduction"))],
            "vanilla is verl's own loss",
        ),
        (
            [f"{ACTOR}.policy_loss._target_=verl.workers.config.PolicyLossConfig",
             *(f"~{ACTOR}.policy_loss.{key}" for key in ("objective", "advantages", "reduction")),
             f"{ACTOR}.policy_loss.loss_mode=mapso"],
            "verl has no policy loss 'mapso'; did you mean 'maspo'",
        ),
    ],
)  # fmt: skip
def test_what_verl_would_stumble_over_is_said_before_ray(settings, message):
    from maspo.engines.verl.compose import checked_objective, compose_config

    base = overrides(load_recipe("quickstart"), Cluster(), FOLDER)
    with pytest.raises(InputError, match=message):
        checked_objective(compose_config([*base, *settings]))


@needs_verl
@pytest.mark.parametrize(
    ("place", "name", "settings"),
    [
        ("trainer/config", "ppo_trainer", ["trainer.v1.trainer_mode=colocate_async"]),
        (
            "trainer/config",
            "ppo_trainer",
            ["trainer.v1.trainer_mode=separate_async",
             "trainer.v1.separate_async.parameter_sync_step=4",
             "actor_rollout_ref.rollout.nnodes=1", "actor_rollout_ref.rollout.n_gpus_per_node=8",
             "actor_rollout_ref.rollout.checkpoint_engine.backend=nccl"],
        ),
        ("experimental/one_step_off_policy/config", "one_step_off_ppo_trainer", []),
        ("experimental/fully_async_policy/config", "fully_async_ppo_trainer", []),
    ],
    ids=["colocate", "separate", "one step off", "fully"],
)  # fmt: skip
def test_the_asynchronous_trainers_of_verl_compose_with_our_loss(place, name, settings):
    """Of these only the first was run, in test_verl_workers.py: the others move weights by NCCL and such."""
    import verl
    from hydra import compose, initialize_config_dir
    from verl.utils.config import omega_conf_to_dataclass

    recipe = load_recipe("quickstart", ["objective.alpha=0.4"])
    given = overrides(recipe, Cluster(), FOLDER) + settings
    given.append("hydra.searchpath=[pkg://verl.trainer.config]")
    folder = Path(verl.__file__).parent / place
    with initialize_config_dir(str(folder), version_base=None):
        config = compose(name, given)
    loss = omega_conf_to_dataclass(config.actor_rollout_ref.actor).policy_loss
    assert loss.loss_mode == "maspo.maspo" and loss.made == recipe.make_objective()


@needs_verl
def test_the_command_of_the_authors_release_needs_two_words_more():
    """As the document shows it, every line of theirs as it is."""
    import maspo
    from maspo.engines.verl.compose import checked_objective, compose_config

    shown = (
        DOCUMENT.read_text("utf-8")
        .split("### The command of the authors' release")[1]
        .split("python3 -m")[1]
    )
    words = shlex.split(shown.split("\n\n")[0].replace("\\\n", " "))
    assert words[0] == "verl.trainer.main_ppo" and len(words) == 18
    changed = [word.replace("maspo_alpha=0.3", "maspo_alpha=0.5") for word in words[1:]]
    assert checked_objective(compose_config(changed)) == maspo.MASPO(alpha=0.5)
    assert checked_objective(compose_config(words[1:])) == maspo.MASPO(alpha=0.3)
    bare = [word for word in words[3:] if "ratio_clip" not in word]
    target = f"{ACTOR}.policy_loss._target_=maspo.engines.verl.settings.MASPOPolicyLossConfig"
    theirs = [f"+{word}" for word in words[3:] if "ratio_clip" in word]
    assert len(theirs) == 5
    config = compose_config([*bare, target, *theirs])
    assert checked_objective(config) == maspo.MASPO(alpha=0.3)


DOCUMENT = Path(__file__).parents[1] / "docs" / "from-one-machine-to-many.md"


def documented_commands():
    """List the words of every `maspo train` with verl in the document."""
    text = DOCUMENT.read_text("utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    return [shlex.split(line)[2:] for line in lines if line.startswith("maspo train")]


def test_the_scripts_of_the_document_are_bash():
    text = DOCUMENT.read_text("utf-8").split("    #!/bin/bash\n")[1].split("\n\n")[0]
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    assert "maspo train" in text


@needs_verl
def test_the_commands_of_the_document_compose():
    """On a machine, through `ray job submit`, and under SLURM."""
    from maspo.engines.verl.compose import checked_objective, compose_config

    sizes = set()
    for name, *words in documented_commands():
        given = dict(zip(words, [*words[1:], ""], strict=True))
        assert given["--engine"] == "verl"
        shape = {
            "nodes": int(given.get("--nodes", 1)),
            "gpus_per_node": int(given["--gpus-per-node"]),
        }
        recipe, folder = load_recipe(name), Path(given.get("--out", "/run"))
        config = compose_config(overrides(recipe, Cluster(**shape), folder))
        assert checked_objective(config) == recipe.make_objective()
        sizes.add((config.trainer.nnodes, "--submit" in given))
    assert sizes == {(1, False), (4, True), (4, False)}


def test_the_defaults_under_the_names_of_the_release_are_those_of_maspo():
    import maspo

    place = Path(maspo.__file__).parent / "engines" / "verl" / "config" / "maspo" / "release.yaml"
    known = yaml.safe_load(place.read_text("utf-8"))["ratio_clip"]
    assert known.pop("ratio_mode") == "maspo"
    assert known == {f"maspo_{key}": value for key, value in dataclasses.asdict(maspo.MASPO()).items()
                     if f"maspo_{key}" in known}  # fmt: skip


@needs_verl
@pytest.mark.parametrize("objective", ["{name: maspo, alpha: 0.5}", "{name: gspo}", "{name: dro}"])
def test_doctor_says_what_a_run_would_train(objective, monkeypatch):
    from maspo.engines.verl.probe import examine

    monkeypatch.setenv("VERL_USE_EXTERNAL_MODULES", "maspo.engines.verl.plugin")
    recipe = load_recipe("quickstart", [f"objective={objective}", "training.micro_batch=8"])
    lines = list(examine(recipe))
    assert f"would train {recipe.make_objective()} as maspo." in lines[-1]
    assert "4 updates per rollout" in lines[-1]
    name = yaml.safe_load(objective)["name"]
    assert any(line.startswith("losses of verl:") for line in lines)
    assert any("verl's vanilla gives 0.0000, 0.0000" in line for line in lines), name


@needs_verl
def test_a_plug_in_that_verls_processes_would_not_load(monkeypatch):
    from maspo.engines.verl.launch import check_entry_point

    monkeypatch.setenv("VERL_USE_EXTERNAL_PLUGINS", "none")
    monkeypatch.delenv("VERL_USE_EXTERNAL_MODULES", raising=False)
    with pytest.raises(InputError, match="verl's processes would not load our plug-in"):
        check_entry_point()
