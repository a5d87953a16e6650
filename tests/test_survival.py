"""What goes wrong in a run is left out, named or reported; what was written stays whole."""

import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from datasets import Dataset
from evaluations import write_evaluation
from test_report import Page
from transformers import TrainerCallback

import maspo
from maspo import files
from maspo.engines.trl import checkpoint
from maspo.engines.trl.callbacks import StallWarning
from maspo.engines.trl.config import MASPOConfig
from maspo.engines.trl.nonfinite_guard import MOST_IN_A_ROW
from maspo.engines.trl.trainer import MASPOTrainer
from maspo.errors import InputError, RunError
from maspo.lab.run.folder import RunFolder
from maspo.lab.run.report import write_report
from maspo.models import load_model
from maspo.recipes import load_recipe

REPOSITORY = Path(maspo.__file__).parents[1]


def lengths(completions, **_):
    return [float(len(text[-1]["content"]) % 3) for text in completions]


def make(folder, reward=lengths, **settings):
    """Four rollouts of two updates of two micro-batches."""
    model, tokenizer = load_model("embedded")
    rows = [
        {"prompt": [{"role": "user", "content": f"{n} + {n} = ?"}], "answer": str(2 * n)}
        for n in range(8)
    ]
    config = MASPOConfig(
        output_dir=str(folder), updates_per_rollout=2, per_device_train_batch_size=4,
        gradient_accumulation_steps=2, num_generations=4, max_completion_length=8, max_steps=8,
        learning_rate=1e-3, logging_steps=1, report_to=[], save_steps=2, use_cpu=True, bf16=False,
        **settings,
    )  # fmt: skip
    return MASPOTrainer(
        model, reward, config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer
    )


def break_gradients(trainer, bad):
    """Make the gradient of the head NaN in the optimizer steps `bad`."""
    weights = trainer.model.get_output_embeddings().weight

    def broken(gradient):
        step = trainer.state.global_step + 1
        return gradient * float("nan") if step in bad else gradient

    weights.register_hook(broken)


class Snapshots(TrainerCallback):
    """Keeps the weights after each step."""

    def __init__(self, trainer):
        self.weights = {0: copy(trainer.model)}

    def on_step_end(self, args, state, control, model=None, **_):
        self.weights[state.global_step] = copy(model)


def copy(model):
    return [p.detach().clone() for p in model.parameters()]


def same(one, other):
    return all(torch.equal(p, q) for p, q in zip(one, other, strict=True))


def test_an_update_without_a_finite_gradient_is_left_out_and_counted(tmp_path):
    trainer = make(tmp_path)
    break_gradients(trainer, {3, 4})
    snapshots = Snapshots(trainer)
    trainer.add_callback(snapshots)
    with pytest.warns(UserWarning, match="the gradient norm is nan at step 3"):
        trainer.train()
    seen = snapshots.weights
    assert same(seen[2], seen[3]) and same(seen[3], seen[4]) and not same(seen[4], seen[5])
    assert all(p.isfinite().all() for p in seen[8])
    skipped = [r["maspo/update_skipped"] for r in trainer.state.log_history if "loss" in r]
    assert skipped == [0, 0, 1, 1, 0, 0, 0, 0]
    assert {p.name for p in (tmp_path / "not-finite").iterdir()} == {
        "step-3-process-0.jsonl", "step-4-process-0.jsonl",
    }  # fmt: skip
    # None is written while updates are being left out.
    assert [checkpoint.step_of(p) for p in checkpoint.checkpoints(tmp_path)] == [2, 6, 8]


def test_after_several_the_run_stops_with_a_checkpoint_from_before(tmp_path):
    trainer = make(tmp_path)
    break_gradients(trainer, range(4, 9))
    with (
        pytest.warns(UserWarning, match="gradient norm is nan"),
        pytest.raises(RunError, match=rf"{MOST_IN_A_ROW} updates in a row .*checkpoint-2 is from"),
    ):
        trainer.train()
    assert trainer.state.global_step == 7  # four were left out, the fifth stopped the run
    good = checkpoint.last_good(tmp_path)
    assert good is not None and checkpoint.step_of(good) == 2
    assert all(p.isfinite().all() for p in trainer.model.parameters())


def test_the_samples_of_an_update_that_was_left_out_are_written_down(tmp_path):
    """The forward pass fails for one prompt: its rows come first and say so."""

    def alternating(completions, **_):
        return [float(row % 2) for row in range(len(completions))]

    trainer = make(tmp_path, alternating)
    trainer.args.max_steps = 4  # both rollouts of an epoch
    decode = trainer.processing_class.decode

    rows_hit = []

    def find(module, inputs, keywords):
        sampling = keywords.get("past_key_values") is not None
        texts = [decode(row) for row in keywords["input_ids"]]
        rows_hit[:] = [not sampling and "3 + 3 = ?" in text for text in texts]

    def spoil(module, inputs, output):
        return output.masked_fill(torch.tensor(rows_hit)[:, None, None], float("nan"))

    trainer.model.register_forward_pre_hook(find, with_kwargs=True)
    trainer.model.model.norm.register_forward_hook(spoil)
    with pytest.warns(UserWarning, match="gradient norm is nan"):
        trainer.train()
    files = sorted((tmp_path / "not-finite").iterdir())
    assert files
    rows = [json.loads(line) for line in files[0].read_text().splitlines()]
    assert len(rows) == 8  # of one update: two micro-batches of four
    assert [row["finite"] for row in rows] == ["3 + 3 = ?" not in row["text"] for row in rows]
    assert not rows[0]["finite"] and rows[-1]["finite"]
    assert [row["finite"] for row in rows] == sorted(row["finite"] for row in rows)


def test_a_model_that_cannot_be_sampled_from_ends_the_run_in_one_sentence(tmp_path):
    trainer = make(tmp_path)

    def spoil(module, inputs, output):
        return output * float("nan")

    trainer.model.get_output_embeddings().register_forward_hook(spoil)
    with pytest.raises(RunError, match=r"stopped at step 0: sampling failed: .* are not finite"):
        trainer.train()


def test_an_infinite_reward_is_refused_with_a_sample(tmp_path):
    def mine(completions, **_):
        return [float("inf")] * len(completions)

    trainer = make(tmp_path, mine)
    with pytest.raises(
        InputError, match=r"completion 0 of .* to '.*no finite reward: {'mine': inf}"
    ):
        trainer.train()


class MyStop(Exception):
    """An exception of the user's own."""


@pytest.mark.parametrize(
    ("returned", "kind"),
    [
        (lambda count: [1.0] * (count - 1), ValueError),
        (lambda count: None, TypeError),
        (lambda count: ["good"] * count, ValueError),
        (lambda count: 1 // 0, ZeroDivisionError),
        (lambda count: (_ for _ in ()).throw(MyStop("enough")), MyStop),
        (lambda count: (_ for _ in ()).throw(MemoryError()), MemoryError),
        (
            lambda count: (_ for _ in ()).throw(ConnectionError("the judge is away")),
            ConnectionError,
        ),
        (lambda count: (_ for _ in ()).throw(URLError("no route to the judge")), URLError),
        # As numpy raises where it is told to; sampling stops with the same for another reason.
        (lambda count: (_ for _ in ()).throw(FloatingPointError("overflow")), FloatingPointError),
    ],
)
def test_what_a_reward_function_raises_keeps_its_type_and_gets_a_sample(tmp_path, returned, kind):
    def mine(completions, **_):
        return returned(len(completions))

    trainer = make(tmp_path, mine)
    before = copy(trainer.model)
    with pytest.raises(kind) as caught:
        trainer.train()
    (note,) = caught.value.__notes__
    assert re.match(r"raised while mine scored 16 completions, the first of them '.*' to '", note)
    assert same(before, copy(trainer.model))


LINES = {
    "equal rewards": (
        {"frac_reward_zero_std": 1.0, "reward": 0.0, "entropy": 1.0},
        "in 10 rollouts every group had equal rewards, 0 in the mean, .* take easier problems",
    ),
    "all solved": (
        {"frac_reward_zero_std": 1.0, "reward": 1.0, "entropy": 1.0},
        "1 in the mean, .* take harder problems",
    ),
    "entropy": (
        {"frac_reward_zero_std": 0.95, "reward": 0.4, "entropy": 0.01},
        "the entropy fell to 0.01 from 1, .* lower the learning rate",
    ),
    "gate": (
        {"maspo/gate_mean": 0.01},
        "the gate lets 1.0% of the policy gradient through; advice",
    ),
}


@pytest.mark.parametrize("kind", LINES)
def test_standing_still_is_said_once_in_the_tenth_rollout(kind, recwarn):
    line, message = LINES[kind]
    watch = StallWarning("advice")
    watch.on_log(None, None, None, {"frac_reward_zero_std": 0.5, "reward": 0.5, "entropy": 1.0})
    for _ in range(9):
        watch.on_log(None, None, None, line)
        watch.on_log(None, None, None, {"loss": 0.1})  # the other updates of the rollout
    assert not recwarn.list
    later = StallWarning("advice")
    later.load_state_dict(json.loads(json.dumps(watch.state_dict())))
    for _ in range(20):
        later.on_log(None, None, None, line)
    assert len(recwarn.list) == 1 and re.search(message, str(recwarn.list[0].message))


def test_a_run_that_learns_is_not_said_to_stand_still(recwarn):
    watch = StallWarning("advice")
    for step in range(100):
        solved = step / 100
        line = {"frac_reward_zero_std": min(0.99, solved), "reward": solved, "maspo/gate_mean": 0.8}
        watch.on_log(None, None, None, line | {"entropy": 1 - 0.99 * solved})
    assert not recwarn.list


# Disks, networks, terminals

TINY = [
    "training.rollouts=2", "training.updates_per_rollout=2", "training.micro_batch=8",
    "training.save_every=1", "rollout.prompts=4", "rollout.samples=4", "evaluation.data.limit=4",
    "evaluation.samples=2",
]  # fmt: skip
SET = [word for item in TINY for word in ("--set", item)]


def maspo_train(*words, largest_file=None, **variables):
    """Run `maspo train`; no file may grow over `largest_file` bytes, as on a disk that is full."""

    def limit():
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    environment |= {"PYTHONPATH": str(REPOSITORY)} | variables
    return subprocess.run(
        [sys.executable, "-m", "maspo", "train", *map(str, words)],
        capture_output=True, text=True, env=environment, preexec_fn=limit,
    )  # fmt: skip


def test_a_disk_too_small_for_a_checkpoint_costs_one_sentence_and_the_run_goes_on_later(tmp_path):
    out = tmp_path / "out"
    small = maspo_train(*SET, "--out", out, largest_file=3_000_000)  # the optimizer takes 3.7 MB
    assert small.returncode == 1, small.stdout + small.stderr
    assert "the checkpoint after step 2 could not be written, there is none yet" in small.stderr
    assert "Traceback" not in small.stderr
    assert checkpoint.checkpoints(out / "checkpoints") == []
    assert not (out / "checkpoints" / checkpoint.STAGING).exists()
    large = maspo_train(*SET, "--out", out)
    assert large.returncode == 0, large.stdout + large.stderr
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 4


def test_a_folder_that_cannot_be_made_costs_one_sentence(command, tmp_path):
    done = command("train", *SET, "--out", "/proc/maspo", folder=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("maspo: /proc/maspo cannot be made: ")
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_model_that_cannot_be_fetched_costs_one_sentence_and_no_folder(tmp_path):
    out = tmp_path / "out"
    done = maspo_train(*SET, "--set", "model.source=nobody/nothing", "--out", out)
    assert done.returncode == 2 and "no model could be loaded from" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not out.exists()


def test_a_port_in_use_costs_one_sentence(tmp_path):
    """The port at which the processes of a run are to meet."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(taken.getsockname()[1])}
        place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
        done = maspo_train(*SET, "--out", tmp_path / "out", **meeting, **place)
    assert done.returncode == 1 and "the processes cannot meet" in done.stderr
    assert "address already in use" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("trl.report_to=wandb", "set tracker: wandb"),
        ("trl.report_to=nothing-such", "trl.report_to: nothing-such is not installed, or unknown"),
        ("trl.tf32=true", "requires Ampere or a newer GPU"),
    ],
)
def test_what_this_machine_lacks_costs_one_sentence(command, tmp_path, setting, message):
    done = command("train", *SET, "--set", setting, "--out", tmp_path / "out", folder=tmp_path)
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not (tmp_path / "out").exists()


def test_weights_that_are_pickles_are_refused(tmp_path):
    """A pickle could run anything: here it would make a file."""
    source = tmp_path / "model"
    source.mkdir()
    for path in maspo.models.EMBEDDED.iterdir():
        if path.suffix != ".safetensors":
            (source / path.name).write_bytes(path.read_bytes())

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    torch.save({"weights": Bomb()}, source / "pytorch_model.bin")
    with pytest.raises(InputError, match="no model could be loaded"):
        load_model(str(source))
    assert not (tmp_path / "exploded").exists()


def test_code_that_comes_with_a_model_is_not_run(tmp_path):
    source = tmp_path / "model"
    shutil.copytree(maspo.models.EMBEDDED, source)
    config = json.loads((source / "config.json").read_text())
    config |= {
        "model_type": "unheard-of",
        "auto_map": {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"},
    }
    (source / "config.json").write_text(json.dumps(config))
    (source / "code.py").write_text(f"import os; os.mkdir({str(tmp_path / 'exploded')!r})")
    with pytest.raises(InputError, match="no model could be loaded"):
        load_model(str(source))
    assert not (tmp_path / "exploded").exists()


def test_recipes_run_no_code(tmp_path):
    recipe = tmp_path / "evil.yaml"
    recipe.write_text(f"name: !!python/object/apply:os.mkdir [{tmp_path / 'exploded'}]")
    with pytest.raises(InputError, match="is not YAML"):
        load_recipe(str(recipe))
    assert not (tmp_path / "exploded").exists()


def test_what_a_sentence_quotes_cannot_act_on_the_terminal(command, tmp_path):
    done = command(
        "train",
        *SET,
        "--set",
        "model.source=./\x1b[2J\u202e\a[/x]\nnext",
        "--out",
        "out",
        folder=tmp_path,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert not set("\x1b\u202e\a") & set(done.stderr) and "[/x]" in done.stderr


HOSTILE = [
    "</script><script>alert(1)</script>", '<img src=x onerror="alert(1)">', "\x1b[2J\x1b]0;x\x07",
    "\x00\x01\x08\x0b\x7f\x9b2J", "\u202eabc\u202c \u200f\u2066", "\ud800 lone", "</pre>" * 9,
    "\u2028\u2029\x85", "x" * 1_000_000, "../../etc/passwd",
]  # fmt: skip


def test_the_report_of_hostile_text_has_none_of_its_elements_and_stays_light(tmp_path):
    """From the functions that write a run's files to the page."""
    folder = RunFolder(tmp_path / "run")
    folder.create()
    for number, when in enumerate(("before", "after")):
        write_evaluation(
            folder.path / "evaluations" / when,
            [(text[:99], 0, "wrong", text) for text in HOSTILE],
            rollouts=number,
        )
    files.write_text(folder.path / "recipe.yaml", "about: </pre><script>alert(1)</script>")
    page = Page(write_report(folder.path).read_text("utf-8"))
    assert not {"img", "svg", "iframe"} & set(page.tags)
    assert len(page.texts["script"]) == page.tags.count("script") <= 2
    assert not any("alert(1)" in text for text in page.texts["script"])
    assert (folder.path / "report.html").stat().st_size < 100_000
    assert {path.name for path in folder.path.iterdir()} <= {
        "evaluations", "recipe.yaml", "report.html", "plots",
    }  # fmt: skip
    assert not (tmp_path.parent / "etc").exists()
