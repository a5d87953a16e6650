"""What a run may go on with, and the sentence for everything else; nothing is written then."""

import pytest
import torch
from transformers import get_scheduler

from maspo import files
from maspo.cli.train import _way_on
from maspo.engines.engine import engine_named
from maspo.engines.trl import checkpoint
from maspo.errors import InputError
from maspo.lab.run.extend import continuation, rate_share, take_over
from maspo.lab.run.folder import RunFolder
from maspo.lab.run.resume import claimed_run
from maspo.recipes import dump_recipe, load_recipe, parse_recipe


@pytest.fixture
def folder(tmp_path):
    """Make the folder of a run of ten rollouts, of which the fourth was the last with a checkpoint."""
    run = RunFolder(tmp_path / "a run")
    run.create()
    content = {"training": {"rollouts": 10, "updates_per_rollout": 2, "learning_rate": 1e-3}}
    files.write_text(run.path / "recipe.yaml", dump_recipe(parse_recipe(content)))
    files.write_json(run.path / "provenance.json", {"seed": 0})
    files.write_json(run.path / "unfinished.json", {"training.rollouts": "10", "seed": "0"})
    written = run.path / "checkpoints" / "_writing" / "checkpoint-8"
    written.mkdir(parents=True)
    (written / "weights").write_text("w")
    checkpoint.publish(written, run.path / "checkpoints" / "checkpoint-8")
    return run


def going_on(folder, *settings, rollouts=None):
    return continuation(folder, engine_named("trl"), settings, rollouts)


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("rollouts", "total"), [("+40", 50), ("50", 50), ("10", 10), (None, 10)])
def test_rollouts_are_added_or_counted_in_all(folder, rollouts, total):
    assert going_on(folder, rollouts=rollouts).recipe.training.rollouts == total


def test_a_learning_rate_that_is_said_is_taken_and_recorded(folder):
    found = going_on(folder, "training.learning_rate=3e-4")
    assert found.news == ["training.learning_rate: 0.001 until now, 0.0003 from here on"]
    take_over(folder, found.recipe)
    [change] = files.read_json(folder.path / "provenance.json")["changes"]
    assert change["settings"] == {"training.learning_rate": [0.001, 0.0003]}
    assert load_recipe(str(folder.path / "recipe.yaml")) == found.recipe
    take_over(folder, found.recipe)  # as after a kill
    assert len(files.read_json(folder.path / "provenance.json")["changes"]) == 1


def test_a_schedule_that_depends_on_the_length_says_what_happens(folder):
    """After 8 of 20 steps 0.6 of the rate is left, of 40 steps 0.8."""
    path = folder.path / "recipe.yaml"
    path.write_text(path.read_text().replace("schedule: constant", "schedule: linear"))
    assert going_on(folder, rollouts="+10").news[1] == (
        "the linear schedule now ends after 20 rollouts: after step 8 the learning rate is 0.0008, where "
        "it would have been 0.0006"
    )


@pytest.mark.parametrize("name", ["constant", "constant_with_warmup", "linear", "cosine"])
@pytest.mark.parametrize("warmup", [0, 3])
def test_the_share_of_the_rate_is_that_of_transformers(name, warmup):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    schedule = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=12)
    for step in range(13):
        assert rate_share(name, warmup, 12, step) == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()


def finish(folder):
    folder.finish()


def drop_checkpoints(folder):
    folder.finish()
    checkpoint.keep_last(folder.path / "checkpoints", 0)


def keep_the_best(folder):
    folder.finish()
    path = folder.path / "recipe.yaml"
    text = path.read_text().replace("every: null", "every: 5").replace("best: false", "best: true")
    path.write_text(text)
    (folder.path / "evaluations" / "after").mkdir(parents=True)


def empty(folder):
    (folder.path / "unfinished.json").unlink()


@pytest.mark.parametrize(
    ("prepare", "settings", "rollouts", "said"),
    [
        (finish, (), None, r"finished after 10 rollouts; `maspo resume '.*a run' --rollouts \+40`"),
        (finish, (), "10", "finished after 10 rollouts"),
        (finish, (), "9", "cannot be cut to 9"),
        (finish, (), "+0", r"takes \+40 for 40 more"),
        (finish, (), "x", r"takes \+40 for 40 more"),
        (finish, ("seed=3",), "+5", "seed cannot change in a run that goes on"),
        (finish, ("model.source=other",), "+5", "model.source cannot change"),
        (finish, ("data.source=programs", "evaluation=null"), "+5", "cannot change"),
        (drop_checkpoints, (), "+5", "left no checkpoint to go on from"),
        (keep_the_best, (), "+5", "keeps the best model"),
        (empty, (), None, "holds no run to go on with"),
    ],
)
def test_everything_else_is_one_sentence_and_nothing_is_written(
    folder, prepare, settings, rollouts, said
):
    prepare(folder)
    before = snapshot(folder)
    with pytest.raises(InputError, match=said):
        going_on(folder, *settings, rollouts=rollouts)
    assert snapshot(folder) == before


def test_a_finished_run_with_another_model_stays_finished(folder):
    folder.finish()
    before = snapshot(folder)
    with (
        pytest.raises(InputError, match="of which seed was 0, not 1; a run goes on only with what"),
        claimed_run(folder, {"training.rollouts": "50", "seed": "1"}, resumed=True),
    ):
        pass
    kept = {path: content for path, content in snapshot(folder).items() if path.name != ".lock"}
    assert kept == before and folder.finished


def test_the_evaluation_at_the_former_end_is_one_on_the_way(folder):
    (folder.path / "evaluations" / "after").mkdir(parents=True)
    folder.finish()
    recipe = going_on(folder, rollouts="+5").recipe
    with claimed_run(folder, {"training.rollouts": "15", "seed": "0"}, resumed=True) as continued:
        assert continued and folder.unfinished
        take_over(folder, recipe)
    assert [path.name for path in (folder.path / "evaluations").iterdir()] == ["rollout-0010"]
    assert files.read_json(folder.path / "unfinished.json")["training.rollouts"] == "15"


def test_a_resume_that_wrote_nothing_is_said_again_whole(folder):
    place = str(folder.path / "recipe.yaml")
    options = ["--rollouts", "+5", "--set", "training.learning_rate=1e-3"]
    asked = load_recipe(place, ["training.rollouts=15"])
    command = f"go on with: maspo resume '{folder.path}'"
    assert _way_on(folder, asked, options) == (
        f"{command} --rollouts +5 --set training.learning_rate=1e-3"
    )
    assert _way_on(folder, asked, None) == command
    take_over(folder, asked)  # once it is written down, no options are needed
    assert _way_on(folder, asked, options) == command
