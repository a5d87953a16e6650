"""A run that the framework carries out by itself, evaluations included, as a command of its own."""

from __future__ import annotations

import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from maspo import files
from maspo.data import Problem
from maspo.engines.engine import Launch, LaunchedEngine, engine_named
from maspo.errors import InputError, RunError
from maspo.evaluation.folder import RUN_PART, EvaluationFolder
from maspo.evaluation.scoring import score
from maspo.lab.console import Screen
from maspo.lab.provenance import provenance, versions
from maspo.lab.run.evaluations import evaluation_record, name_of
from maspo.lab.run.extend import free_settings, take_over
from maspo.lab.run.folder import RunFolder
from maspo.lab.run.report import write_report
from maspo.lab.run.resume import claimed_run, launch_fingerprint
from maspo.lab.run.share import write_card
from maspo.lab.run.stopping import Stopped, Stopping
from maspo.lab.run.summary import summarized
from maspo.recipes import Recipe, dump_recipe
from maspo.sampling import Sample

LAUNCH = "launch.json"
"""The file in the folder of a run that says which engine carries it out, and how it was started."""


def launch_recipe(
    recipe: Recipe,
    folder: RunFolder,
    screen: Screen,
    engine: LaunchedEngine,
    launch: Launch,
    *,
    strict: bool = False,
    resumed: bool = False,
) -> None:
    """Check the recipe, print the command in full, and run it; a dry run ends before that.

    A folder with the same run, unfinished, is continued; with `resumed` the run there may be finished,
    and goes on with what this recipe changes. Raises InputError for what a user can get wrong, before
    anything is written, RunError where the command fails, and Stopped after SIGTERM or Ctrl-C.
    """
    started = time.perf_counter()
    engine.check(recipe, launch, folder.path, strict=strict)
    words, sent = (
        engine.command(recipe, launch, folder.path),
        engine.submission(launch, folder.path),
    )
    screen.say(engine.printed(words))
    if sent is not None:
        screen.say(f"sent by    {shlex.join(sent)}", "dim")
    missing = engine.obstacles(recipe, launch, folder.path)
    if launch.dry_run:
        said = f"checked by {engine.supported.title}; it would train {recipe.make_objective()}"
        screen.say(said, "dim")
        for sentence in missing:
            screen.say(f"not here   {sentence}", "dim")
        return
    if missing:
        raise InputError(missing[0])
    training, held_out = recipe.problems()
    problems = {"training": training, "evaluation": held_out}
    found = launch_fingerprint(recipe, problems, launch, free_settings(engine))
    with claimed_run(folder, found, resumed=resumed) as continued:
        run = LaunchedRun(
            recipe=recipe,
            folder=folder,
            screen=screen,
            engine=engine,
            launch=launch,
            held_out=held_out,
            started=started,
        )
        run.begin(words, continued=continued)
        run.carry_out(sent or words)


def launched_with(folder: RunFolder) -> tuple[LaunchedEngine, Launch] | None:
    """Return what carries out the run in a folder, and how it was started; None for one in a process."""
    path = folder.path / LAUNCH
    if not path.exists():
        return None
    known = files.read_json(path)
    engine = engine_named(known.pop("engine"))
    assert isinstance(engine, LaunchedEngine)
    return engine, Launch(**known)


@dataclass(frozen=True, kw_only=True)
class LaunchedRun:
    """A checked recipe, the folder that is claimed for it, and what carries it out."""

    recipe: Recipe
    folder: RunFolder
    screen: Screen
    engine: LaunchedEngine
    launch: Launch
    held_out: Sequence[Problem]
    """The problems of the evaluations."""
    started: float
    """By `time.perf_counter`."""

    @property
    def path(self) -> Path:
        """The folder's path."""
        return self.folder.path

    def begin(self, words: Sequence[str], *, continued: bool) -> None:
        """Write down what is run, and what the command reads."""
        if continued:
            self.gather()  # before the engine logs anew
            take_over(self.folder, self.recipe)
        else:
            files.write_text(self.path / "recipe.yaml", dump_recipe(self.recipe))
            files.write_json(self.path / "provenance.json", provenance(self.recipe.seed))
        files.write_json(self.path / LAUNCH, {"engine": self.engine.name, **asdict(self.launch)})
        files.write_text(self.path / "command.sh", self.engine.printed(words) + "\n")
        self.engine.provide(self.recipe, self.launch, self.path)

    def carry_out(self, words: Sequence[str]) -> None:
        """Run the command, and put what it wrote into the form of a run folder, however it ends."""
        place, rollouts = self.engine.latest(self.path / "checkpoints")
        if place is not None:
            total = self.recipe.training.rollouts
            self.screen.say(f"going on after rollout {rollouts} of {total}", "dim")
        try:
            code = run_command(words)
        finally:
            self.gather()
            write_report(self.path)
        if code:
            raise RunError(
                f"{self.engine.supported.title} ended with exit code {code}; what it said is above; when "
                f"that is mended, go on with: {self.folder.resume_command()}"
            )
        self.conclude()

    def gather(self) -> None:
        """Bring metrics and evaluations up to what the engine has written."""
        merge_metrics(self.path / "metrics.jsonl", self.engine.metrics(self.recipe, self.path))
        if self.recipe.evaluation is not None:
            for rollouts, samples in self.engine.validations(self.recipe, self.path).items():
                self.take_in(rollouts, samples)

    def take_in(self, rollouts: int, samples: Sequence[Sample]) -> None:
        """Write down and score the evaluation after so many rollouts, unless that was done before."""
        name = name_of(rollouts, self.recipe.training.rollouts)
        folder = EvaluationFolder(self.path / RUN_PART / name)
        if folder.is_scored:
            return
        asked = self.recipe.evaluation
        assert asked is not None
        wanted = {(one.id, n) for one in self.held_out for n in range(asked.samples)}
        if wanted != {(one.problem_id, one.index) for one in samples}:
            self.screen.warn(
                f"the evaluation {name} has {len(samples)} samples, not the {len(wanted)} of the recipe's "
                "problems, and is left out"
            )
            return
        record = evaluation_record(self.recipe, rollouts, engine=self.engine.name)
        [benchmark] = record["benchmarks"]
        folder.begin(record, {benchmark: self.held_out})
        files.write_lines(
            folder.samples_file, [{"benchmark": benchmark, **asdict(one)} for one in samples]
        )
        with self.recipe.reward.start() as rewards:
            score(folder, folder.all_samples(), rewards, versions())

    def conclude(self) -> None:
        """Write model, summary and report of a run that is over."""
        place, _ = self.engine.latest(self.path / "checkpoints")
        if place is None:
            raise RunError(
                f"{self.engine.supported.title} ended, and {self.path} holds no checkpoint"
            )
        rows = files.read_lines(self.path / "metrics.jsonl")
        found = {
            "processes": self.engine.shares(self.recipe, self.launch),
            "steps": self.recipe.training.steps,
            "train_seconds": rows[-1]["seconds"] if rows else 0.0,
            "total_seconds": time.perf_counter() - self.started,
        }
        summary = summarized(self.folder, self.recipe, found)
        files.write_folder(
            self.path / "model",
            partial(self.engine.export, place),
            partial(write_card, recipe=self.recipe, summary=summary),
        )
        files.write_json(self.path / "summary.json", summary)
        write_report(self.path)
        self.folder.finish()
        self.screen.results(summary)


def run_command(words: Sequence[str]) -> int:
    """Run a command to its end and return its exit code; SIGTERM and Ctrl-C end it, and raise Stopped."""
    stopping = Stopping()
    with stopping.watching():
        # In a session of its own it hears of Ctrl-C from us alone, and once.
        child = subprocess.Popen(words, start_new_session=True)
        try:
            return child.wait()
        except Stopped:
            child.terminate()
            child.wait()
            raise Stopped(stopping.asked or signal.SIGTERM, "while it trained") from None


def merge_metrics(path: Path, lines: Sequence[dict]) -> None:
    """Put the lines of a run that went on in place of those from their first step on; its clock goes on."""
    if not lines:
        return
    before = files.read_lines(path, torn=True)
    kept = [line for line in before if line["step"] < lines[0]["step"]]
    spent = kept[-1]["seconds"] if kept else 0.0
    files.write_lines(path, [*kept, *({**one, "seconds": spent + one["seconds"]} for one in lines)])
