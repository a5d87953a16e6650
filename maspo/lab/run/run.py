"""A whole run: evaluate, train, evaluate again, and everything written down."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from maspo import files
from maspo.data import Problem
from maspo.engines.engine import InProcessEngine, Launch, Trained, TrainingJob
from maspo.engines.moment import Look, Moment
from maspo.lab.checks import answerable, check_golds_reached, check_held_out
from maspo.lab.console import Screen
from maspo.lab.provenance import provenance
from maspo.lab.run.best import Best
from maspo.lab.run.evaluations import Evaluations, figures_of, tracked
from maspo.lab.run.extend import take_over
from maspo.lab.run.folder import RunFolder
from maspo.lab.run.learning import outlook
from maspo.lab.run.movement import sample_weights, weight_change
from maspo.lab.run.report import write_report
from maspo.lab.run.resume import claimed_run, cut_metrics, run_fingerprint
from maspo.lab.run.share import check_hub, push, write_card
from maspo.lab.run.stopping import Stopped, Stopping
from maspo.lab.run.summary import summarized
from maspo.lab.run.tokens import TokenSaver
from maspo.lab.run.tracker import Tracker, check_tracker, numbers_of, tracking
from maspo.models import load_model, save_model
from maspo.models.adapter import has_adapter, save_adapter
from maspo.models.generation import check_saving
from maspo.models.load import ModelLimits, check_source
from maspo.recipes import Recipe, dump_recipe
from maspo.rewards import RewardSet
from maspo.sampling.processes import Processes
from maspo.sampling.text import prompt_tokens


def run_recipe(
    recipe: Recipe,
    folder: RunFolder,
    screen: Screen,
    engine: InProcessEngine,
    *,
    strict: bool = False,
    resumed: bool = False,
) -> Path:
    """Carry out a recipe, or what is left of it, and return its folder.

    Everything a user can get wrong is checked before a model is loaded and before anything is
    written; InputError says what. A folder with the same run, unfinished, is continued to the result
    that it would have had; with `resumed` the run there, finished or not, goes on with what this recipe
    changes. Where several processes train, all call this, and the first one evaluates and writes.
    Raises Stopped after SIGTERM or Ctrl-C.
    """
    started = time.perf_counter()
    stopping = Stopping()
    with stopping.watching(), recipe.reward.start() as rewards:
        run = Run.prepare(recipe, folder, screen, engine, rewards, stopping, strict=strict)
        run.carry_out(started, resumed=resumed)
    return folder.path


@dataclass(kw_only=True)
class Run:
    """A recipe with everything loaded that it names."""

    recipe: Recipe
    folder: RunFolder
    screen: Screen
    engine: InProcessEngine
    rewards: RewardSet
    stopping: Stopping
    strict: bool
    processes: Processes
    """Those that train together."""
    model: Any
    """The model as transformers loads it; training changes it."""
    tokenizer: Any
    """Its tokenizer, as transformers loads it."""
    training: list[Problem]
    """The problems that are trained on, those with too long prompts left out."""
    held_out: list[Problem]
    """The problems of the evaluations."""
    overlap: dict[str, Any] | None
    """Which problems of the evaluations are trained on, as `check_held_out` counts them."""
    earlier: float = 0.0
    """Seconds of training that the process which began the run has spent, where this one goes on."""

    @classmethod
    def prepare(
        cls,
        recipe: Recipe,
        folder: RunFolder,
        screen: Screen,
        engine: InProcessEngine,
        rewards: RewardSet,
        stopping: Stopping,
        *,
        strict: bool,
    ) -> Run:
        """Check and load everything; InputError where something cannot be used."""
        engine.check(recipe, Launch(), folder.path, strict=strict)
        processes = engine.processes()
        check_tracker(recipe)
        check_hub(recipe)
        check_source(recipe.model.source)
        training, held_out = recipe.problems()
        overlap = check_held_out(recipe, training, held_out, screen, strict=strict)
        problems = {"training": training, "evaluation": held_out}
        check_golds_reached(problems, rewards, screen, strict=strict)
        screen.console.print(f"loading {recipe.model.source}", style="dim", markup=False)
        named = recipe.model
        model, tokenizer = load_model(
            named.source, named.dtype, named.chat_template, named.quantization
        )
        engine.check_model(recipe, model)
        check_saving(model, tokenizer)
        limits = ModelLimits.of(model.config)
        training = answerable(recipe, training, held_out, limits, tokenizer, screen)
        return cls(
            recipe=recipe,
            folder=folder,
            screen=screen,
            engine=engine,
            rewards=rewards,
            stopping=stopping,
            strict=strict,
            processes=processes,
            model=model,
            tokenizer=tokenizer,
            training=training,
            held_out=held_out,
            overlap=overlap,
        )

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder.path / "checkpoints"

    def carry_out(self, started: float, *, resumed: bool = False) -> None:
        """Do what is left to do, and write down the result."""
        if not self.processes.first:
            self.processes.wait()
            self.train()
            self.processes.wait()
            return
        parameters, weights = self.model.num_parameters(), sample_weights(self.model)
        with claimed_run(self.folder, self.fingerprint(), resumed=resumed) as continued:
            if continued:
                take_over(self.folder, self.recipe)
            else:
                files.write_text(self.folder.path / "recipe.yaml", dump_recipe(self.recipe))
                files.write_json(self.folder.path / "provenance.json", provenance(self.recipe.seed))
            self.processes.wait()
            done = self.train()
            self.processes.wait()
            seconds = self.earlier + time.perf_counter() - started
            found = {
                "parameters": parameters,
                "total_seconds": seconds,
                "held_out": self.overlap,
                "weight_change": weight_change(weights, done.model),
            }
            self.conclude(done, found)

    def fingerprint(self) -> dict[str, str]:
        """Describe what makes this the run that it is."""
        problems = {"training": self.training, "evaluation": self.held_out}
        return run_fingerprint(
            self.recipe, self.model, self.tokenizer, problems, self.processes.count
        )

    def train(self) -> Trained:
        """Train from the last good checkpoint, or from the start; Stopped if that was asked for."""
        recipe, first, asked = self.recipe, self.processes.first, self.recipe.evaluation
        place, step = self.engine.latest(self.checkpoints) if first else (None, 0)
        place = self.processes.share(place)
        seconds, total = 0.0, self.recipe.training.steps
        if first:
            seconds = self.earlier = cut_metrics(self.folder, step)
            if step:
                self.screen.console.print(f"going on after step {step} of {total}", style="dim")
        with (
            tracking(recipe, self.folder.path, step, first=first) as tracker,
            watched(total, seconds, self.folder, self.screen, tracker) as sink,
            self.stopping.patient(),
        ):
            job = TrainingJob(
                recipe=recipe,
                model=self.model,
                tokenizer=self.tokenizer,
                problems=self.training,
                rewards=self.rewards,
                folder=self.checkpoints,
                sink=sink,
                strict=self.strict,
                resume=place,
                stop=self.stopping.wanted,
                tokens=self.tokens(),
                look=self.look(tracker),
                every=asked.every if asked else None,
            )
            done = self.engine.train(job)
        if done.steps < total or self.stopping.wanted():
            number = self.stopping.asked or signal.SIGTERM
            raise Stopped(number, f"after step {done.steps} of {total}")
        return replace(done, seconds=seconds + done.seconds)

    def look(self, tracker: Tracker) -> Look | None:
        """Return what evaluates the model at the moments of training; None without evaluation."""
        if self.recipe.evaluation is None:
            return None
        total, updates = self.recipe.training.rollouts, self.recipe.training.updates_per_rollout
        evaluations = Evaluations(
            recipe=self.recipe, problems=self.held_out, rewards=self.rewards, run=self.folder.path,
            screen=self.screen, processes=self.processes,
        )  # fmt: skip

        def look(moment: Moment) -> None:
            if 0 < moment.rollouts < total:  # a signal ends it and then training, with a checkpoint
                found = evaluations.evaluate(moment.rollouts, moment.sampler, self.stopping.wanted)
                if found is not None:
                    tracker.log(moment.rollouts * updates, tracked(found))
                best = found is not None and self.best.is_at(moment.rollouts)
                if self.processes.share(best):
                    self.best.keep(moment)
                return
            with self.stopping.impatient():
                found = evaluations.evaluate(moment.rollouts, moment.sampler)
            if found is not None:
                tracker.log(moment.rollouts * updates, tracked(found))
            if found is not None and moment.rollouts == 0:
                doubt = outlook(figures_of(found), self.recipe.rollout.max_completion_tokens)
                if doubt is not None:
                    self.screen.warn(doubt)

        return look

    @property
    def best(self) -> Best:
        """What keeps the best model."""
        return Best(self.recipe, self.folder.path, self.engine)

    def tokens(self) -> TokenSaver | None:
        """Give what keeps tokens for a replay, in the process that writes."""
        return TokenSaver(self.folder, self.recipe) if self.processes.first else None

    def conclude(self, done: Trained, found: dict[str, Any]) -> None:
        """Write model, summary and report, and let go of the checkpoints."""
        model = self.best.model() or done.model
        recipe = self.recipe
        found |= {
            "prompt": self.tokenizer.decode(
                prompt_tokens(self.tokenizer, self.training[0], recipe.model.chat_template_kwargs)
            ),
            "processes": self.processes.count,
            "steps": done.steps,
            "train_seconds": done.seconds,
        }
        summary = summarized(self.folder, recipe, found)
        files.write_folder(
            self.folder.path / "model",
            partial(save_model, model, self.tokenizer),
            partial(write_card, recipe=recipe, summary=summary),
        )
        if has_adapter(model):
            keep = partial(save_adapter, model, recipe.model.source)
            files.write_folder(self.folder.path / "adapter", keep)
        files.write_json(self.folder.path / "summary.json", summary)
        write_report(self.folder.path)
        self.folder.finish()
        self.engine.keep(self.checkpoints, recipe.training.keep)
        self.best.let_go()
        self.screen.results(summary)
        failed = push(recipe, self.folder.path) if recipe.push_to_hub else None
        if failed is not None:
            self.screen.warn(failed)


@contextmanager
def watched(
    total: int, seconds: float, folder: RunFolder, screen: Screen, tracker: Tracker
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Show a progress bar, and give what writes a line of metrics, tracks it and moves the bar.

    `seconds` were spent before, and are added to those of the lines.
    """
    metrics = folder.path / "metrics.jsonl"
    with screen.counter("training", total) as counter:

        def sink(line: dict[str, Any]) -> None:
            files.append_lines(metrics, [{**line, "seconds": seconds + line["seconds"]}])
            tracker.log(line["step"], numbers_of(line))
            counter.reach(line["step"], screen.training_news(line))

        yield sink
