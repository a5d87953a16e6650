"""Evaluations of a training run: they leave training alone, are shared by processes, and choose the best."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier

import pytest
from evaluations import evaluation
from test_resume import equal, recipe, run, same

import maspo
from maspo import files
from maspo.data import Problem
from maspo.engines.trl.restored import restored
from maspo.errors import InputError
from maspo.evaluation.drawing import draw_missing
from maspo.evaluation.folder import EvaluationFolder
from maspo.lab.run.evaluations import best_of, name_of
from maspo.lab.scores.load import load_runs
from maspo.models import load_model
from maspo.recipes import parse_recipe, plan
from maspo.sampling import Sample, Settings
from maspo.sampling.interface import WHOLE, Part, layout
from maspo.sampling.with_transformers import TransformersSampler

SUMS = [Problem(id=f"p{i}", prompt=({"role": "user", "content": f"{i}+1="},)) for i in range(7)]
DRAW = Settings(samples=3, max_new_tokens=4, batch_size=4, seed=5)


class Letters:
    """A sampler whose samples depend on problem, index and chunk alone, and which counts its chunks."""

    def __init__(self):
        self.chunks = 0

    def sample(self, problems, settings, done=(), part=WHOLE):
        for chunk in layout({one.id: len(one.id) for one in problems}, settings, done, part):
            self.chunks += 1
            yield [
                Sample(
                    problem_id=p, index=i, seed=chunk.seed, text=f"{p}{i}", tokens=2, finish="stop"
                )
                for p, i in chunk.rows
                if (p, i) not in done
            ]


def begun(path):
    folder = EvaluationFolder(path)
    folder.begin({"samples": DRAW.samples}, {"sums": SUMS})
    return folder


def drawn(folder):
    return {place: one for place, one in folder.all_samples()["sums"].items()}


@dataclass
class Team:
    """Threads in place of processes: `gather` and `share` meet at a barrier, as collectives do."""

    count: int

    def __post_init__(self):
        self.barrier, self.slots = Barrier(self.count, timeout=60), [None] * self.count

    def member(self, index):
        team = self

        class Member:
            count, first, part = team.count, index == 0, Part(index=index, count=team.count)

            def gather(self, value):
                team.slots[index] = value
                team.barrier.wait()
                found = list(team.slots)
                team.barrier.wait()
                return found

            def share(self, value):
                return self.gather(value)[0]

            def wait(self):
                team.barrier.wait()

        return Member()


def draw_with(folder, count, stop=lambda: False):
    team, samplers = Team(count), [Letters() for _ in range(count)]
    with ThreadPoolExecutor(count) as pool:
        ended = [
            pool.submit(
                draw_missing,
                folder,
                DRAW,
                lambda i=i: samplers[i],
                processes=team.member(i),
                stop=stop,
            )
            for i in range(count)
        ]
        return [one.result() for one in ended], [one.chunks for one in samplers]


def test_every_process_draws_its_share_and_the_samples_are_the_same(tmp_path):
    alone = begun(tmp_path / "alone")
    assert draw_missing(alone, DRAW, Letters)
    ended, chunks = draw_with(begun(tmp_path / "two"), 2)
    assert ended == [True, True] and sum(chunks) == 7 and max(chunks) == 4
    assert drawn(EvaluationFolder(tmp_path / "two")) == drawn(alone)
    ended, chunks = draw_with(begun(tmp_path / "nine"), 9)  # more processes than chunks
    assert ended == [True] * 9 and sorted(chunks) == [0, 0, 1, 1, 1, 1, 1, 1, 1]
    assert drawn(EvaluationFolder(tmp_path / "nine")) == drawn(alone)


def test_two_gloo_processes_each_draw_a_share():
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    torchrun += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"]
    here, package = Path(__file__).parent, Path(maspo.__file__).parents[1]
    with TemporaryDirectory() as folder:
        done = subprocess.run(
            [*torchrun, "two_processes_draw.py", f"{folder}/evaluation"],
            cwd=here, capture_output=True, text=True,
            env={**os.environ, "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(package)},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    one, two = ({tuple(key) for key in share} for share in found["shares"])
    assert found["backend"] == "gloo" and one and two and not one & two
    assert one | two == {tuple(key) for key in found["all"]} and len(one | two) == 21
    assert abs(len(one) - len(two)) <= DRAW.batch_size


def test_drawing_that_was_stopped_goes_on_with_any_number_of_processes(tmp_path):
    folder, asked = begun(tmp_path / "x"), iter([False, False, True, True])
    assert not draw_missing(folder, DRAW, Letters, stop=lambda: next(asked))
    assert 0 < len(folder.samples()["sums"]) < 21
    ended, chunks = draw_with(folder, 2, stop=lambda: True)
    assert ended == [False, False] and chunks == [0, 0]
    ended, _ = draw_with(folder, 2)
    assert ended == [True, True] and len(drawn(folder)) == 21


@pytest.mark.parametrize("lora", [None, {"rank": 2, "dropout": 0.1}])
def test_looks_leave_training_as_it_is_and_the_best_model_is_that_of_its_moment(tmp_path, lora):
    """Metrics and weights equal those of a run without looks, bit for bit, dropout included."""
    chosen, seen = recipe({"learning_rate": 1e-2}, model={"lora": lora}), {}

    def look(moment):
        settings = Settings(samples=2, max_new_tokens=12, batch_size=4, seed=1)
        chunks = list(moment.sampler.sample(SUMS, settings))
        seen[moment.rollouts] = [one.text for chunk in chunks for one in chunk]
        moment.save(tmp_path / f"{moment.rollouts}.safetensors")

    rows, weights = run(chosen, tmp_path / "alone")
    looked, others = run(chosen, tmp_path / "looked", look=look, every=1)
    assert equal(rows, looked) and same(weights, others)
    assert list(seen) == [0, 1, 2, 3] and seen[0] != seen[3]
    if lora is None:  # merged adapters have other names
        last = restored(chosen, tmp_path / "3.safetensors").state_dict()
        assert same(last, weights)
    second = restored(chosen, tmp_path / "2.safetensors")
    tokenizer = load_model("embedded")[1]
    sampler = TransformersSampler(second, tokenizer)
    settings = Settings(samples=2, max_new_tokens=12, batch_size=4, seed=1)
    again = [one.text for chunk in sampler.sample(SUMS, settings) for one in chunk]
    assert again == seen[2]


def test_a_resumed_run_looks_again_at_the_moment_it_resumes_at(tmp_path):
    chosen, seen = recipe(), []

    def look(moment):
        seen.append(moment.rollouts)

    run(chosen, tmp_path, stop_after=4, look=look, every=1)
    assert seen == [0, 1, 2]
    run(chosen, tmp_path, resume=tmp_path / "checkpoint-4", look=look, every=1)
    assert seen == [0, 1, 2, 2, 3]


def test_the_best_is_the_earliest_of_the_highest_after_training_began():
    assert best_of({0: 0.9, 20: 0.5, 40: 0.7, 60: 0.7}) == 40
    assert best_of({0: 0.9}) is None and best_of({}) is None
    assert [name_of(n, 60) for n in (0, 40, 60)] == ["before", "rollout-0040", "after"]


def test_a_recipe_says_when_and_what_is_saved():
    def told(**evaluation):
        [line] = [x for x in plan(parse_recipe({"evaluation": evaluation})) if "evaluation" in x]
        return line

    assert told(every=20, keep_best=True).endswith(
        "samples, before, after every 20 rollouts, and at the end; the best model is saved"
    )
    assert "before, after every rollout, and at the end" in told(every=1)
    assert told().endswith("samples, before and after")
    lines = plan(parse_recipe({"evaluation": None}))
    assert "evaluation none: the model is not evaluated" in lines
    assert parse_recipe({"evaluation": None, "data": {"limit": 3}}).problems()[1] == []
    with pytest.raises(InputError, match="keep_best has nothing to choose from; set every as well"):
        parse_recipe({"evaluation": {"keep_best": True}})


def test_a_run_stands_for_its_first_and_last_evaluation_in_a_report(tmp_path):
    run_folder = tmp_path / "mine"
    for number, name in enumerate(("before", "rollout-0002", "after")):
        place = run_folder / "evaluations" / name
        evaluation(place, {"set": ["cc", "c1"]}, rollouts=2 * number)
        files.write_json(place / "eval.json", {"rollouts": 2 * number})
    found = load_runs([str(run_folder), str(run_folder / "evaluations" / "rollout-0002")])
    assert [one.label for one in found] == ["mine before", "mine after", "mine rollout-0002"]
    assert list(EvaluationFolder.of_run(run_folder)) == ["before", "rollout-0002", "after"]
