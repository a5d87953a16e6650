"""A whole run: evaluate, train, evaluate again, and everything written down."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maspo import files
from maspo.data import Problem
from maspo.errors import InputError
from maspo.evaluation.evaluate import Evaluation, evaluate
from maspo.lab.console import Screen
from maspo.lab.provenance import provenance
from maspo.lab.run.folder import RunFolder
from maspo.lab.run.report import write_report
from maspo.lab.run.resume import claimed, cut_metrics, fingerprint
from maspo.lab.run.stopping import Stopped, Stopping
from maspo.lab.run.tokens import TokenSaver
from maspo.models.load import check_source, load_model
from maspo.objectives import describe_objective
from maspo.recipes import Recipe, dump_recipe
from maspo.rewards import RewardSet

if TYPE_CHECKING:
    from maspo.engines.trl.training import Trained


def run_recipe(recipe: Recipe, folder: RunFolder, screen: Screen, *, strict: bool = False) -> Path:
    """Carry out a recipe, or what is left of it, and return its folder.

    Everything a user can get wrong is checked before a model is loaded and before anything is
    written; InputError says what. A folder with the same run, unfinished, is continued to the result
    that it would have had. Where several processes train, all call this, and the first one evaluates
    and writes. Raises Stopped after SIGTERM or Ctrl-C.
    """
    started = time.perf_counter()
    stopping = Stopping()
    with stopping.watching():
        run = Run.prepare(recipe, folder, screen, stopping, strict=strict)
        run.carry_out(started)
    return folder.path


@dataclass(kw_only=True)
class Run:
    """A recipe with everything loaded that it names."""

    recipe: Recipe
    folder: RunFolder
    screen: Screen
    stopping: Stopping
    strict: bool
    processes: Any
    model: Any
    tokenizer: Any
    training: list[Problem]
    held_out: list[Problem]

    @classmethod
    def prepare(
        cls, recipe: Recipe, folder: RunFolder, screen: Screen, stopping: Stopping, *, strict: bool
    ) -> Run:
        """Check and load everything; InputError where something cannot be used."""
        from maspo.engines.trl.processes import Processes
        from maspo.engines.trl.training import trl_config

        trl_config(recipe, folder.path, strict=strict)
        processes = Processes()
        check_source(recipe.model.source)
        training, held_out = recipe.problems()
        screen.console.print(f"loading {recipe.model.source}", style="dim", markup=False)
        model, tokenizer = load_model(recipe.model.source, recipe.model.dtype)
        training = fitting(training, tokenizer, recipe.data.max_prompt_tokens, screen)
        if len(training) < recipe.rollout.prompts:
            raise InputError(
                f"a rollout takes {recipe.rollout.prompts} prompts, but only {len(training)} "
                "problems remain"
            )
        return cls(
            recipe=recipe,
            folder=folder,
            screen=screen,
            stopping=stopping,
            strict=strict,
            processes=processes,
            model=model,
            tokenizer=tokenizer,
            training=training,
            held_out=held_out,
        )

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder.path / "checkpoints"

    def carry_out(self, started: float) -> None:
        """Do what is left to do, and write down the result."""
        if not self.processes.first:
            self.processes.wait()
            with self.recipe.reward.start() as rewards:
                self.train(rewards)
            self.processes.wait()
            return
        parameters = self.model.num_parameters()
        with (
            claimed(self.folder, self.fingerprint()) as continued,
            self.recipe.reward.start() as rewards,
        ):
            if not continued:
                files.write_text(self.folder.path / "recipe.yaml", dump_recipe(self.recipe))
                files.write_json(self.folder.path / "provenance.json", provenance(self.recipe.seed))
            judge = Judge(
                self.recipe, self.held_out, self.tokenizer, rewards, self.folder, self.screen
            )
            before = judge("before", to_device(self.model))
            self.processes.wait()
            done = self.train(rewards)
            after = judge("after", done.model)
            self.processes.wait()
            self.conclude(
                done,
                {
                    "parameters": parameters,
                    "total_seconds": time.perf_counter() - started,
                    "before": before.summary(),
                    "after": after.summary(),
                    "difference": after.gain_over(before),
                },
            )

    def fingerprint(self) -> dict[str, str]:
        """Describe what makes this the run that it is."""
        problems = {"training": self.training, "evaluation": self.held_out}
        return fingerprint(self.recipe, self.model, self.tokenizer, problems, self.processes.count)

    def train(self, rewards: RewardSet) -> Trained:
        """Train from the last good checkpoint, or from the start; Stopped if that was asked for."""
        from maspo.engines.trl.checkpoint import last_good, step_of
        from maspo.engines.trl.training import train

        place = self.processes.share(last_good(self.checkpoints) if self.processes.first else None)
        seconds, total = 0.0, self.recipe.training.steps
        if self.processes.first:
            step = 0 if place is None else step_of(place)
            seconds = cut_metrics(self.folder, step)
            if step:
                self.screen.console.print(f"going on after step {step} of {total}", style="dim")
        with watched(total, seconds, self.folder, self.screen) as sink, self.stopping.patient():
            done = train(
                self.recipe, self.model, self.tokenizer, self.training, rewards,
                self.checkpoints, sink,
                strict=self.strict, resume=place, stop=self.stopping.wanted, tokens=self.tokens(),
            )  # fmt: skip
        if done.steps < total or self.stopping.wanted():
            number = self.stopping.asked or signal.SIGTERM
            raise Stopped(number, f"after step {done.steps} of {total}")
        return replace(done, seconds=seconds + done.seconds)

    def tokens(self) -> TokenSaver | None:
        """Give what keeps tokens for a replay, in the process that writes."""
        return TokenSaver(self.folder, self.recipe) if self.processes.first else None

    def conclude(self, done: Trained, found: dict[str, Any]) -> None:
        """Write model, summary and report, and let go of the checkpoints."""
        from maspo.engines.trl.checkpoint import keep_last

        files.write_folder(
            self.folder.path / "model", done.model.save_pretrained, self.tokenizer.save_pretrained
        )
        recipe = self.recipe
        summary = {
            "recipe": recipe.name,
            "seed": recipe.seed,
            "model": recipe.model.source,
            "processes": self.processes.count,
            "objective": describe_objective(recipe.make_objective()),
            "advantages": recipe.advantages,
            "reduction": recipe.reduction,
            "rewards": [spec.describe() for spec in recipe.reward.specs],
            "updates_per_rollout": recipe.training.updates_per_rollout,
            "steps": done.steps,
            "train_seconds": done.seconds,
            **found,
        }
        files.write_json(self.folder.path / "summary.json", summary)
        write_report(self.folder.path)
        self.folder.finish()
        keep_last(self.checkpoints, recipe.training.keep)
        self.screen.results(summary)


@contextmanager
def watched(
    total: int, seconds: float, folder: RunFolder, screen: Screen
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Show a progress bar, and give what writes a line of metrics and moves the bar.

    `seconds` were spent before, and are added to those of the lines.
    """
    metrics = folder.path / "metrics.jsonl"
    with screen.progress("training", total) as bar:

        def sink(line: dict[str, Any]) -> None:
            files.append_lines(metrics, [{**line, "seconds": seconds + line["seconds"]}])
            news = screen.training_news(line)
            bar.update(bar.task_ids[0], completed=line["step"], news=news)

        yield sink


def fitting(
    problems: list[Problem], tokenizer: Any, limit: int | None, screen: Screen
) -> list[Problem]:
    """Leave out the problems whose prompt is longer than `limit` tokens, and say how many."""
    if limit is None:
        return problems
    kept = []
    for problem in problems:
        ids = tokenizer.apply_chat_template(
            list(problem.prompt), add_generation_prompt=True, return_dict=True
        )["input_ids"]
        if len(ids) <= limit:
            kept.append(problem)
    if len(kept) < len(problems):
        left = len(problems) - len(kept)
        screen.console.print(
            f"{left} problems with prompts over {limit} tokens left out", style="dim"
        )
    return kept


def to_device(model: Any) -> Any:
    """Move a model to the GPU, where there is one."""
    import torch

    return model.to("cuda" if torch.cuda.is_available() else "cpu")


class Judge:
    """Evaluates a model by the recipe and writes its samples down."""

    def __init__(
        self,
        recipe: Recipe,
        problems: list[Problem],
        tokenizer: Any,
        rewards: RewardSet,
        folder: RunFolder,
        screen: Screen,
    ) -> None:
        """Take what stays the same between the evaluations of a run."""
        self.recipe, self.problems, self.tokenizer = recipe, problems, tokenizer
        self.rewards, self.folder, self.screen = rewards, folder, screen

    def __call__(self, when: str, model: Any) -> Evaluation:
        """Evaluate; `when` names the samples file, which is read where it is there already."""
        settings, name = self.recipe.evaluation, f"samples/{when}.jsonl"
        if (self.folder.path / name).exists():
            return Evaluation(
                samples=settings.samples, lines=files.read_lines(self.folder.path / name)
            )
        total = len(self.problems) * settings.samples
        with self.screen.progress(when, total) as bar:
            result = evaluate(
                model,
                self.tokenizer,
                self.problems,
                self.rewards,
                samples=settings.samples,
                temperature=settings.temperature,
                top_p=settings.top_p,
                max_new_tokens=self.recipe.rollout.max_completion_tokens,
                batch_size=settings.batch_size,
                seed=self.recipe.seed,
                progress=lambda done: bar.advance(bar.task_ids[0], done),
                kept_in=self.folder.path / "samples" / f"{when}.drawn.jsonl",
            )
        files.write_lines(self.folder.path / name, result.lines)
        return result
