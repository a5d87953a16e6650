"""`maspo plan`: what a run is asked and takes, and what `maspo train` would refuse, before a model loads."""

import json

import pytest
import torch

from maspo.engines.engine import engine_named
from maspo.lab.forecast.look import Outlook, look_ahead
from maspo.lab.forecast.memory import Memory, in_gb
from maspo.lab.forecast.pace import measured_pace
from maspo.models import load_model
from maspo.models.skeleton import (
    activation_bytes,
    cache_bytes,
    imagined,
    parameter_bytes,
    skeleton,
)
from maspo.recipes import dump_recipe, load_recipe, parse_recipe

PROSE = r"\xymatrix{a & b}"


def outlook(recipe, **options):
    found = Outlook(lambda line: None)
    look_ahead(recipe, engine_named("trl"), found, **options)
    return found


def told(found, about):
    return [line[11:] for line in found.lines if line.startswith(about)]


@pytest.fixture(scope="module")
def quickstart():
    return outlook(load_recipe("quickstart"))


def test_a_plan_shows_the_prompt_exactly_and_how_often_each_is_asked(quickstart):
    assert told(quickstart, "prompt")[0].partition("\n")[2] == (
        " " * 11 + "<|begin|><|user|>75+8+61<|end|><|assistant|>"
    )  # written by hand from models/embedded/chat_template.jinja
    [problems] = told(quickstart, "problems")
    assert problems.startswith("2560, 1 epochs")  # 80 rollouts of 32 prompts are 2560
    assert quickstart.refusals == []


def test_a_machine_without_a_gpu_is_told(quickstart):
    expected = "no GPU here" if not torch.accelerator.is_available() else "of memory"
    assert expected in told(quickstart, "device")[0]


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("trl.nonsense=1", "unknown setting of TRL"),
        ("data.limit=8", "a rollout takes 32 prompts, but only 8 problems remain"),
        ("rollout.max_completion_tokens=100000", "leaves"),
        ("model.lora={target: [no_such_layer]}", "model.lora.target does not fit the model"),
        ("model.source=./nowhere", "unknown model"),
        ("model.chat_template_kwargs={thinking: true}", "has no thinking"),
        ("evaluation.data={source: nowhere.jsonl}", "there is no file nowhere.jsonl"),
    ],
)
def test_a_plan_refuses_what_training_would(setting, reason):
    [found] = outlook(load_recipe("quickstart", [setting])).refusals
    assert reason in found


def test_doubtful_golds_are_told_or_refused(tmp_path):
    rows = [{"problem": f"{n}?", "answer": a} for n, a in enumerate(("5", PROSE))]
    for name in ("training", "evaluation"):
        text = "\n".join(json.dumps({**r, "problem": name + r["problem"]}) for r in rows)
        (tmp_path / f"{name}.jsonl").write_text(text)
    data = {"source": f"{tmp_path}/training.jsonl"}
    judged = {"data": {"source": f"{tmp_path}/evaluation.jsonl"}}
    recipe = parse_recipe(
        {
            "data": data,
            "evaluation": judged,
            "rollout": {"prompts": 2, "samples": 16},
            "training": {"micro_batch": 8},
        }
    )
    warnings = told(outlook(recipe), "warning")
    assert [w for w in warnings if "1 of 2 golds of the training problems" in w and "parse" in w]
    assert [w for w in warnings if "1 of 2 golds of the evaluation problems" in w]
    assert len(outlook(recipe, strict=True).refusals) == 2


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (None, "there is no file"),
        ("def other(completions): ...", "closeness is not there"),
        ("def closeness(:", "is not Python"),
        ("open('imported', 'w')\ndef closeness(completions, **_): ...", None),
        ("from elsewhere import closeness", None),
    ],
)
def test_own_rewards_are_looked_at_and_not_imported(tmp_path, monkeypatch, code, reason):
    monkeypatch.chdir(tmp_path)
    if code is not None:
        (tmp_path / "mine.py").write_text(code)
    source = f"reward.functions=[{{source: {tmp_path}/mine.py:closeness}}]"
    refusals = outlook(load_recipe("quickstart", [source])).refusals
    assert not (tmp_path / "imported").exists()
    assert refusals == [] if reason is None else reason in refusals[0]


def test_the_parts_of_memory_are_those_of_the_real_model():
    rows, prompt, completion = 4, 12, 20
    model = skeleton("embedded", "float32")
    size, trained = parameter_bytes(model)
    with imagined(model):
        cache = cache_bytes(model, rows, prompt + completion, bfloat16=False)
        activations = activation_bytes(
            model, rows, prompt, completion, bfloat16=False, checkpointing=False
        )
        thin = activation_bytes(model, rows, prompt, completion, bfloat16=False, checkpointing=True)
    real, _ = load_model("embedded")
    assert size == trained == 4 * real.num_parameters()
    config = real.config  # a key and a value of every layer, head and token, of 4 bytes a number
    width = config.num_key_value_heads * config.hidden_size // config.num_attention_heads
    assert cache == 2 * 4 * config.num_hidden_layers * width * rows * (prompt + completion)

    own = {p.data_ptr() for p in (*real.parameters(), *real.buffers())}
    saved = {}

    def keep(tensor):
        if tensor.data_ptr() not in own:
            saved[tensor.untyped_storage().data_ptr()] = tensor  # alive, so no address comes twice
        return tensor

    ids = torch.zeros(rows, prompt + completion, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = real(input_ids=ids, use_cache=False, logits_to_keep=completion + 1).logits
        logits.logsumexp(-1)
    expected = sum(one.untyped_storage().nbytes() for one in saved.values())
    gradient = rows * (completion + 1) * config.vocab_size * 4
    assert activations == pytest.approx(expected + gradient, rel=0.05)
    assert thin < 0.8 * activations


def test_the_most_at_once_is_either_sampling_or_a_backward_pass():
    parts = {"parameters": 1, "trained": 1, "weights": 40, "gathered": 3, "gradients": 10}
    parts |= {"optimizer": 20}
    assert Memory(**parts, cache=100, activations=8).peak() == 160
    assert Memory(**parts, cache=5, activations=8).peak() == 78
    assert Memory(**parts, cache=5, activations=8).peak(shards=10) == 4 + 2 + 1 + 8
    assert (
        Memory(**parts, cache=7, activations=8).peak(shards=10) == 4 + 2 + 7 + 3
    )  # all, to sample
    assert (in_gb(5_000_000), in_gb(1_234_000_000), in_gb(140_000_000_000)) == (
        "5 MB", "1.2 GB", "140 GB",
    )  # fmt: skip


def test_adapters_are_all_that_is_trained():
    [line] = told(outlook(load_recipe("quickstart", ["model.lora={rank: 1}"])), "parameters")
    whole, trained = (int(part.split()[0].replace(",", "")) for part in line.split(", "))
    real, _ = load_model("embedded")
    linear = [
        layer
        for name, layer in real.named_modules()
        if isinstance(layer, torch.nn.Linear) and "head" not in name
    ]
    assert trained == sum(one.in_features + one.out_features for one in linear)
    assert whole == real.num_parameters() + trained


def test_the_time_is_that_of_a_run_of_the_same_work_in_this_folder(tmp_path, monkeypatch):
    recipe = load_recipe("quickstart")
    monkeypatch.chdir(tmp_path)
    assert measured_pace(recipe) is None
    run = tmp_path / "quickstart-1"
    run.mkdir()
    others = ["seed=5", "objective=grpo", "tracker=tensorboard", "training.reduction=token-mean"]
    (run / "recipe.yaml").write_text(dump_recipe(load_recipe("quickstart", others)))
    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    (run / "provenance.json").write_text(json.dumps({"hardware": {"gpus": gpus}}))
    lines = [
        {"step": step, "seconds": seconds} for step, seconds in ((1, 9.0), (2, 10.0), (9, 17.0))
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = measured_pace(recipe)
    assert found.folder.resolve() == run and found.rollouts == 2
    assert found.seconds == pytest.approx(4.0)  # 8 s for 8 steps, 4 of them a rollout
    other = load_recipe("quickstart", ["rollout.max_completion_tokens=24"])
    assert measured_pace(other) is None
