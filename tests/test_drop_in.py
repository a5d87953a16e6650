"""What works with TRL's GRPOTrainer works with ours: the same calls, settings, callbacks and folders.

Where stock TRL can do a thing, it does it here beside ours; nothing of either is replaced but the hub.
"""

import fnmatch
import json
import warnings
from collections import deque
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

import numpy
import pytest
import torch

trl = pytest.importorskip("trl")
transformers = pytest.importorskip("transformers")

from datasets import Dataset  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import TrainerCallback  # noqa: E402
from vision import image, make_with_images  # noqa: E402

import maspo  # noqa: E402
from maspo.engines.trl import MASPOConfig, MASPOTrainer  # noqa: E402
from maspo.engines.trl import checkpoint as checkpoints  # noqa: E402
from maspo.engines.trl.portable import portable  # noqa: E402
from maspo.models import load_model  # noqa: E402

PROMPTS = Dataset.from_list(
    [{"prompt": [{"role": "user", "content": f"{i}+{i}"}]} for i in range(8)]
)
KINDS = ("stock", "ours")


def length(completions, **_):
    return [float(len(c[0]["content"])) for c in completions]


def config(kind, folder, **settings):
    """Settings of one update of one micro-batch per rollout, the same for both."""
    settings = {
        "output_dir": str(folder), "per_device_train_batch_size": 4, "num_generations": 4,
        "per_device_eval_batch_size": 4, "max_completion_length": 8, "learning_rate": 0.01,
        "use_cpu": True, "bf16": False, "report_to": [], "disable_tqdm": True, "seed": 3,
        "logging_strategy": "no", "save_strategy": "no", **settings,
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "stock":
            return trl.GRPOConfig(**settings)
        return MASPOConfig(objective=maspo.GRPO(), updates_per_rollout=1, **settings)


def trainer(kind, args, reward=length, base=lambda cls: cls, rows=PROMPTS, model=None, **more):
    model, processor = load_model("embedded") if model is None else model
    cls = base(trl.GRPOTrainer if kind == "stock" else MASPOTrainer)
    return cls(model, reward, args, rows, processing_class=processor, **more)


# The best checkpoint


def scored(cls):
    """Make a trainer whose evaluations are best after step 1, and keep the weights of each."""

    class Scored(cls):
        def __init__(self, *args, **kwargs):
            self.weights = {}
            super().__init__(*args, **kwargs)

        def evaluate(self, *args, **kwargs):
            found = super().evaluate(*args, **kwargs)
            found["eval_score"] = 9.0 if self.state.global_step == 1 else 1.0
            self.weights[self.state.global_step] = copied(self.model)
            return found

    return Scored


def copied(model):
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("limit", [None, 1, 2])
def test_the_best_model_is_kept_and_loaded_at_the_end(tmp_path, limit):
    found = {}
    for kind in KINDS:
        args = config(
            kind, tmp_path / kind, max_steps=4, eval_strategy="steps", eval_steps=1,
            save_strategy="steps", save_steps=1, save_total_limit=limit,
            load_best_model_at_end=True, metric_for_best_model="eval_score",
            greater_is_better=True,
        )  # fmt: skip
        made = trainer(kind, args, base=scored, eval_dataset=PROMPTS.select(range(2)))
        made.train()
        now = copied(made.model)
        best = made.weights[1]
        assert all(torch.equal(a, b) for a, b in zip(now, best, strict=True)), kind
        folders = sorted(p for p in (tmp_path / kind).iterdir() if p.is_dir())
        states = {p.name: json.loads((p / checkpoints.STATE).read_text()) for p in folders}
        named = {state["best_model_checkpoint"] for state in states.values()}
        assert (
            named == {str(tmp_path / kind / "checkpoint-1")} == {made.state.best_model_checkpoint}
        )
        found[kind] = sorted(states)
    assert found["ours"] == found["stock"]


# The hub


class Hub:
    """Stands for the hub: keeps what an upload would send."""

    def __init__(self):
        self.sent = []

    def create_repo(self, name, **_):
        return type("Url", (), {"repo_id": f"someone/{name}"})()

    def upload_folder(self, *, folder_path, path_in_repo=".", ignore_patterns=(), **_):
        there = {
            str(p.relative_to(folder_path)) for p in Path(folder_path).rglob("*") if p.is_file()
        }
        skipped = {p for p in there for one in ignore_patterns if fnmatch.fnmatch(p, one)}
        assert there, f"{folder_path} is empty"
        self.sent.append((path_in_repo, there - skipped))
        return type("Job", (), {"done": lambda self: True, "result": lambda self: None})()


def test_an_upload_holds_what_stock_trl_sends_and_a_checkpoint_is_whole(tmp_path, monkeypatch):
    sent = {}
    for kind in KINDS:
        hub = Hub()
        monkeypatch.setattr(transformers.trainer, "hf_api", lambda hub=hub: hub)
        args = config(
            kind, tmp_path / kind, max_steps=2, save_strategy="steps", save_steps=1,
            save_total_limit=1, push_to_hub=True, hub_strategy="checkpoint", hub_model_id="m",
            hub_always_push=True,
        )  # fmt: skip
        trainer(kind, args).train()
        sent[kind] = hub.sent
    ours = [(place, files) for place, files in sent["ours"]]
    assert [place for place, _ in ours] == [place for place, _ in sent["stock"]]
    assert {place for place, _ in ours} == {".", "last-checkpoint"}
    for (place, files), (_, expected) in zip(ours, sent["stock"], strict=True):
        own = {checkpoints.CHECKSUMS, "rollout_0.pt"} if place == "last-checkpoint" else set()
        assert files == expected | own


# Rewards that are missing


def judge(completion_ids, **_):
    """Abstain from the first completion of each rollout."""
    return [None if i == 0 else float(sum(ids) % 7) for i, ids in enumerate(completion_ids)]


def test_a_completion_without_a_score_is_left_out_as_trl_does(tmp_path):
    found = {}
    for kind in KINDS:
        more = {} if kind == "stock" else {"group_decoding": False}
        made = trainer(kind, config(kind, tmp_path / kind, max_steps=1, **more), judge)
        made.train()
        found[kind] = list(made._logs["advantages"]), copied(made.model)
    assert found["ours"][0] == pytest.approx(found["stock"][0], abs=1e-6)
    assert found["ours"][0][0] == 0 and any(found["ours"][0])
    for one, other in zip(found["ours"][1], found["stock"][1], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["group", "center", "loo", "batch", "whiten", "gpg"])
def test_every_estimator_leaves_it_out(tmp_path, name):
    made = trainer(
        "ours",
        config("ours", tmp_path, max_steps=1, advantages=name),
        lambda completions, **_: [None, 1.0, 2.0, 6.0],
    )
    made.train()
    advantages = list(made._logs["advantages"])
    assert advantages[0] == 0 and all(advantages[1:])
    if name in ("center", "gpg"):
        assert advantages[1:] == pytest.approx([-2, -1, 3])
    if name == "loo":  # of three, not of four
        assert advantages[1:] == pytest.approx([-3, -1.5, 4.5])
    assert all(p.isfinite().all() for p in made.model.parameters())


# A model with a generate of its own


@pytest.mark.parametrize("takes", ["anything", "what it names"])
def test_a_model_with_its_own_generate_is_sampled_by_it(tmp_path, takes, caplog):
    model, tokenizer = load_model("embedded")
    asked = []

    def write(input_ids, generation_config):
        asked.append(len(input_ids))
        new = torch.randint(5, 60, (len(input_ids), generation_config.max_new_tokens))
        return torch.cat([input_ids, new], dim=1)

    class Own(type(model)):
        def generate(self, input_ids=None, attention_mask=None, generation_config=None, **kwargs):
            return write(input_ids, generation_config)

    class Narrow(type(model)):
        def generate(self, input_ids, attention_mask, generation_config):
            return write(input_ids, generation_config)

    model.__class__ = Own if takes == "anything" else Narrow
    made = trainer("ours", config("ours", tmp_path, max_steps=2), model=(model, tokenizer))
    made.train()
    assert asked == [4, 4]  # a row for each completion, as stock TRL asks


# Signatures


def test_arguments_are_taken_by_position(tmp_path):
    model, tokenizer = load_model("embedded")
    args = config("ours", tmp_path, max_steps=1)
    made = MASPOTrainer(model, length, args, PROMPTS, PROMPTS, tokenizer)
    assert made.train(None, None).global_step == 1


def test_without_settings_trl_makes_some_and_so_do_we(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # TRL's default is bfloat16, which transformers refuses on a CPU that was not asked for.
    monkeypatch.setattr(transformers.training_args, "is_torch_bf16_gpu_available", lambda: True)
    model, tokenizer = load_model("embedded")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = MASPOTrainer(model, length, train_dataset=PROMPTS, processing_class=tokenizer)
    assert made.args.objective == maspo.MASPO()
    assert Path(made.args.output_dir).name.endswith("-MASPO")
    stock = config("stock", tmp_path)
    with pytest.raises(maspo.InputError, match="args must be a MASPOConfig, not GRPOConfig"):
        MASPOTrainer(model, length, stock, PROMPTS, processing_class=tokenizer)


# Resume


class Kind(StrEnum):
    """A text of a class of its own."""

    A = "a"


class Counting(TrainerCallback):
    """A callback of a user: its memory cannot be loaded, and holds what torch refuses to load."""

    def state_dict(self):
        return {"place": Path("here")}


def extras(completions, log_extra, **_):
    log_extra("length", [numpy.float32(len(c[0]["content"])) for c in completions])
    log_extra("where", [Decimal("0.5") for _ in completions])
    return length(completions)


def test_a_resume_survives_what_callbacks_and_logs_hold(tmp_path):
    settings = {"save_strategy": "steps", "save_steps": 1, "log_completions": True}
    args = config("ours", tmp_path, max_steps=1, **settings)
    made = trainer("ours", args, extras, callbacks=[Counting(), Counting()])
    with pytest.warns(UserWarning, match="values of type Decimal .* are not kept"):
        made.train()
    args = config("ours", tmp_path, max_steps=2, **settings)
    again = trainer("ours", args, extras, callbacks=[Counting(), Counting()])
    with pytest.warns(UserWarning, match="values of type Decimal .* are not kept"):
        assert again.train(resume_from_checkpoint=True).global_step == 2
    assert list(again._logs["extra"]["where"]) == [Decimal("0.5")] * 4  # of the last rollout


def test_of_a_log_a_checkpoint_keeps_what_can_be_read_back_safely(tmp_path):
    lost = set()
    kept = portable(
        {
            "length": deque([numpy.float32(1.5), numpy.int64(2), True]),
            "prompt": [[{"role": "user", "content": [{"type": "image", "image": image(0)}]}]],
            "where": [Path("somewhere"), Kind.A, b"bytes", numpy.ones(2)],
        },
        lost,
    )
    assert kept == {
        "length": [1.5, 2, True],
        "prompt": [[{"role": "user", "content": [{"type": "image", "image": None}]}]],
        "where": [None, "a", None, [1.0, 1.0]],
    }
    assert lost == {"Image", "PosixPath", "bytes"}
    torch.save(kept, tmp_path / "kept.pt")
    assert torch.load(tmp_path / "kept.pt", weights_only=True) == kept


def test_a_checkpoint_of_stock_trl_is_said_to_be_one(tmp_path):
    args = config("stock", tmp_path, max_steps=1, save_strategy="steps", save_steps=1)
    trainer("stock", args).train()
    made = trainer("ours", config("ours", tmp_path, max_steps=2))
    for given in (True, tmp_path / "checkpoint-1", str(tmp_path / "checkpoint-1")):
        with (
            warnings.catch_warnings(),
            pytest.raises(maspo.InputError, match="one of stock TRL or transformers"),
        ):
            warnings.simplefilter("ignore")
            made.train(resume_from_checkpoint=given)


def test_a_vision_language_model_goes_on_from_its_checkpoint(tmp_path):
    """Its files name the weights otherwise than the model does; stock Trainer loads few of them."""
    rows = Dataset.from_list(
        [
            {"prompt": [{"role": "user", "content": f"{i}+{i}"}], "images": [image(i)]}
            for i in range(8)
        ]
    )

    def run(folder, steps, resume=None):
        args = config(
            "ours", folder, max_steps=steps, save_strategy="steps", save_steps=1,
            log_completions=True, lr_scheduler_type="constant",
        )  # fmt: skip
        made = trainer("ours", args, rows=rows, model=make_with_images())
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="values of type")
            made.train(resume_from_checkpoint=resume)
        return made.model

    alone = run(tmp_path / "alone", 2)
    first = run(tmp_path / "cut", 1)
    saved = load_file(tmp_path / "cut" / "checkpoint-1" / "model.safetensors")
    assert set(saved) != set(first.state_dict())
    on = run(tmp_path / "cut", 2, resume=True)
    for (name, one), other in zip(alone.named_parameters(), on.parameters(), strict=True):
        assert torch.equal(one, other), name
