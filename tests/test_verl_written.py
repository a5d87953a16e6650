"""What verl leaves in the folder of a run, and what becomes of it: metrics, evaluations, checkpoints.

The files are written here as verl 0.9.1 writes them; `test_verl_run.py` has verl write them.
"""

import io
import json

import pytest
from rich.console import Console

from maspo import InputError
from maspo.engines.engine import ENGINES, Launch
from maspo.evaluation.folder import EvaluationFolder
from maspo.lab.console import Screen
from maspo.lab.run.export import export_model
from maspo.lab.run.folder import RunFolder
from maspo.lab.run.launched import LaunchedRun, launched_with
from maspo.recipes import load_recipe
from maspo.recipes.load import parse_recipe

VERL = ENGINES["verl"]


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def logged(rollout, **more):
    """Make a line of verl's file logger."""
    data = {
        "training/global_step": rollout,
        "critic/score/mean": rollout / 8,
        "actor/maspo/gate_mean": 0.5,
        "perf/throughput": float("nan"),  # of nothing
        "timing_s/step": 2.0,
        "timing_s/testing": 1.0,
    }
    return {"step": rollout, "data": data | more}


def answers(*texts, **changes):
    """Make the lines of a validation of two problems with two samples each."""
    places = ["a", "a", "b", "b"]
    return [
        {"output": text, "problem_id": place, "tokens": 5, "finish": "stop", "score": 0.0} | changes
        for place, text in zip(places, texts, strict=False)
    ]


@pytest.fixture
def run(tmp_path):
    """A run of four rollouts, two updates each, that has begun."""
    rows = [
        {"problem": "1+1", "answer": "2", "id": "a"},
        {"problem": "2+2", "answer": "4", "id": "b"},
    ]
    write(tmp_path / "sums.jsonl", rows)
    recipe = parse_recipe(
        {
            "data": {"source": str(tmp_path / "sums.jsonl")},
            "rollout": {"prompts": 2, "samples": 2},
            "training": {"rollouts": 4, "updates_per_rollout": 2, "micro_batch": 2},
            "evaluation": {"data": {"source": str(tmp_path / "sums.jsonl")}, "samples": 2},
        }
    )
    folder = RunFolder(tmp_path / "run")
    folder.create()
    said = Console(file=io.StringIO(), width=200)
    _, held_out = recipe.problems()
    begun = LaunchedRun(
        recipe=recipe, folder=folder, screen=Screen(said), engine=VERL,
        launch=Launch(gpus_per_node=1), held_out=held_out, started=0.0,
    )  # fmt: skip
    begun.begin(["python", "-m", "verl.trainer.main_ppo"], continued=False)
    return begun


def metrics(run):
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


def test_metrics_have_the_common_names_and_count_optimizer_steps(run):
    before = {"step": 0, "data": {"val-core/sums/acc/mean@2": 0.5, "timing_s/testing": 4.0}}
    write(run.path / "verl.jsonl", [before, logged(1), logged(2)])
    run.gather()
    first, second = metrics(run)
    assert first["step"] == 2 and second["step"] == 4
    assert first["seconds"] == 7.0 and second["seconds"] == 10.0
    assert first["reward"] == 0.125 and first["maspo/gate_mean"] == 0.5
    assert "perf/throughput" not in first and first["training/global_step"] == 1


@pytest.mark.parametrize(("longest", "share"), [(256, 0.25), (255, 0.0)])
def test_what_was_cut_off_is_as_long_as_the_recipe_allows(run, longest, share):
    """verl's clip_ratio is the share of completions that are as long as the longest of the rollout."""
    assert run.recipe.rollout.max_completion_tokens == 256
    lengths = {"response_length/max": longest, "response_length/clip_ratio": 0.25}
    write(run.path / "verl.jsonl", [logged(1, **lengths)])
    run.gather()
    (line,) = metrics(run)
    assert line["completions/clipped_ratio"] == share
    assert line["response_length/clip_ratio"] == 0.25


def test_a_run_that_went_on_has_one_line_for_each_rollout(run):
    """verl begins its file anew, at the checkpoint that it went on from."""
    write(run.path / "verl.jsonl", [logged(1), logged(2), logged(3)])
    run.gather()
    write(run.path / "verl.jsonl", [logged(3, **{"critic/score/mean": 9.0}), logged(4)])
    for _ in range(2):  # gathering again changes nothing
        run.gather()
        found = metrics(run)
        assert [line["step"] for line in found] == [2, 4, 6, 8]
        assert [line["seconds"] for line in found] == [3.0, 6.0, 9.0, 12.0]
        assert [line["reward"] for line in found] == [0.125, 0.25, 9.0, 0.5]


def test_a_line_that_a_killed_process_did_not_finish_is_left_out(run):
    write(run.path / "verl.jsonl", [logged(1)])
    with (run.path / "verl.jsonl").open("a") as file:
        file.write('{"step": 2, "da')
    run.gather()
    assert len(metrics(run)) == 1


def test_validations_become_evaluations_that_our_verifier_scores(run):
    right, wrong = r"\boxed{2}", r"\boxed{3}"
    write(run.path / "validation" / "0.jsonl", answers(right, wrong, wrong, wrong))
    write(run.path / "validation" / "4.jsonl", answers(right, right, r"\boxed{4}", wrong))
    run.gather()
    found = EvaluationFolder.of_run(run.path)
    assert list(found) == ["before", "after"]
    scores = [one.scores().benchmarks["sums"].metrics for one in found.values()]
    assert [one["avg@2"].value for one in scores] == [0.25, 0.75]
    assert [one["pass@2"].value for one in scores] == [0.5, 1.0]
    sample = found["after"].samples()["sums"]["b", 1]
    assert (sample.text, sample.tokens, sample.finish) == (wrong, 5, "stop")
    assert found["after"].settings()["engine"] == "verl"
    run.gather()
    assert (
        EvaluationFolder.of_run(run.path)["after"].scores().benchmarks["sums"].metrics == scores[1]
    )


@pytest.mark.parametrize(
    "rows",
    [answers("x", "y", "z"), answers("x", "y", "z", "z", problem_id="a")],
    ids=["three of four", "of other problems"],
)
def test_a_validation_that_is_not_the_recipes_is_left_out_and_said(run, rows):
    write(run.path / "validation" / "2.jsonl", rows)
    run.gather()
    assert not EvaluationFolder.of_run(run.path)
    said = run.screen.console.file.getvalue()
    assert "the evaluation rollout-0002 has" in said and "is left out" in said


def test_samples_of_another_reward_manager_say_too_little(run):
    rows = [{"output": "x", "score": 0.0}]
    write(run.path / "validation" / "2.jsonl", rows)
    run.gather()
    assert not EvaluationFolder.of_run(run.path)


def test_the_newest_checkpoint_is_the_one_that_verl_notes(run):
    home = run.path / "checkpoints"
    assert VERL.latest(home) == (None, 0)
    (home / "global_step_2").mkdir(parents=True)
    (home / "global_step_3").mkdir()  # being written
    assert VERL.latest(home) == (None, 0)
    (home / "latest_checkpointed_iteration.txt").write_text("2")
    assert VERL.latest(home) == (home / "global_step_2", 2)


def test_a_run_is_resumed_by_the_engine_and_with_the_options_that_began_it(run):
    assert launched_with(run.folder) == (VERL, Launch(gpus_per_node=1))
    assert launched_with(RunFolder(run.path.parent)) is None


def test_a_run_without_a_checkpoint_or_of_another_engine_has_no_model_to_export(run, tmp_path):
    with pytest.raises(InputError, match="has written no checkpoint yet"):
        export_model(run.folder, None)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "x").touch()
    with pytest.raises(InputError, match="already holds something"):
        export_model(run.folder, tmp_path / "used")
    with pytest.raises(InputError, match="holds no run of --engine verl"):
        export_model(RunFolder(tmp_path), None)


def test_the_folder_of_a_run_is_not_taken_for_a_model(run):
    from maspo.models.source import check_source

    with pytest.raises(
        InputError, match=r"is the folder of a training run; write its model by `maspo export"
    ):
        check_source(str(run.path))
    (run.path / "model").mkdir()
    with pytest.raises(InputError, match=r"is the folder of a training run; take .*/model"):
        check_source(str(run.path))


def test_a_run_goes_on_with_what_leaves_its_results_alone(run):
    from maspo.lab.run.extend import continuation

    memory = "verl.actor_rollout_ref.rollout.gpu_memory_utilization=0.3"
    (run.path / "unfinished.json").write_text("{}")
    found = continuation(run.folder, VERL, [memory], None)
    assert dict(found.recipe.verl) == {
        "actor_rollout_ref": {"rollout": {"gpu_memory_utilization": 0.3}}
    }
    with pytest.raises(InputError, match="entropy_coeff cannot change in a run that goes on"):
        continuation(run.folder, VERL, ["verl.actor_rollout_ref.actor.entropy_coeff=0.1"], None)
    longer = continuation(run.folder, VERL, [], "+2")
    assert (
        longer.recipe.training.rollouts
        == load_recipe(str(run.path / "recipe.yaml")).training.rollouts + 2
    )


def test_an_adapter_beside_the_model_is_merged_into_it(tmp_path):
    """As verl's merger leaves them; the merged model gives the logits of the two together."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from maspo.models import EMBEDDED
    from maspo.models.adapter import merge_adapter

    model = AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32)
    model.save_pretrained(tmp_path)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])).eval()
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.05)
    adapted.save_pretrained(tmp_path / "lora_adapter")
    ids = torch.arange(5, 15)[None]
    merge_adapter(tmp_path, tmp_path / "lora_adapter")
    assert not (tmp_path / "lora_adapter").exists()
    found = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        expected = adapted(ids).logits
        with adapted.disable_adapter():
            assert (adapted(ids).logits - expected).abs().max() > 1e-3
        assert torch.allclose(found(ids).logits, expected, atol=1e-5)
