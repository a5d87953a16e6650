"""A whole run: evaluate, train, evaluate again, and everything written down."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maspo.data import Problem, load_problems
from maspo.errors import InputError
from maspo.evaluation.evaluate import Evaluation, evaluate
from maspo.lab.console import Screen
from maspo.lab.folder import RunFolder
from maspo.lab.provenance import provenance
from maspo.lab.report import write_report
from maspo.models.load import check_source, load_model
from maspo.objectives import describe_objective
from maspo.recipes import Recipe, dump_recipe
from maspo.recipes.schema import Data
from maspo.rewards import MathReward, Verifier


def run_recipe(recipe: Recipe, folder: RunFolder, screen: Screen, *, strict: bool = False) -> Path:
    """Carry out a recipe and return its folder.

    Everything a user can get wrong is checked before a model is loaded and before anything is
    written; InputError says what. Where several processes train, all call this, and the first one
    evaluates and writes.
    """
    started = time.perf_counter()
    from maspo.engines.trl.processes import Processes
    from maspo.engines.trl.training import Trained, train, trl_config

    trl_config(recipe, folder.path, strict=strict)
    processes = Processes()
    check_source(recipe.model.source)
    training, held_out = load(recipe.data), load(recipe.evaluation.data)
    screen.console.print(f"loading {recipe.model.source}", style="dim")
    model, tokenizer = load_model(recipe.model.source, recipe.model.dtype)
    training = fitting(training, tokenizer, recipe.data.max_prompt_tokens, screen)
    if len(training) < recipe.rollout.prompts:
        raise InputError(
            f"a rollout takes {recipe.rollout.prompts} prompts, but only {len(training)} problems remain"
        )
    if processes.first:
        folder.create()
        folder.write_text("recipe.yaml", dump_recipe(recipe))
        folder.write_json("provenance.json", provenance(recipe.seed))
    parameters = model.num_parameters()

    def trained(verifier: Verifier) -> Trained:
        reward, checkpoints = MathReward(verifier), folder.path / "checkpoints"
        with watched(recipe, folder, screen) as sink:
            return train(
                recipe, model, tokenizer, training, reward, checkpoints, sink, strict=strict
            )

    with Verifier(workers=recipe.reward.workers, time_limit=recipe.reward.time_limit) as verifier:
        if not processes.first:
            processes.wait()
            trained(verifier)
            processes.wait()
            return folder.path
        judge = Judge(recipe, held_out, tokenizer, verifier, folder, screen)
        before = judge("before", to_device(model))
        processes.wait()
        done = trained(verifier)
        after = judge("after", done.model)
        processes.wait()
    done.model.save_pretrained(folder.path / "model")
    tokenizer.save_pretrained(folder.path / "model")
    summary = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "model": recipe.model.source,
        "parameters": parameters,
        "processes": processes.count,
        "objective": describe_objective(recipe.make_objective()),
        "advantages": recipe.advantages,
        "reduction": recipe.reduction,
        "updates_per_rollout": recipe.training.updates_per_rollout,
        "steps": done.steps,
        "train_seconds": done.seconds,
        "total_seconds": time.perf_counter() - started,
        "before": before.summary(),
        "after": after.summary(),
        "difference": after.gain_over(before),
    }
    folder.write_json("summary.json", summary)
    write_report(folder.path)
    screen.results(summary)
    return folder.path


@contextmanager
def watched(
    recipe: Recipe, folder: RunFolder, screen: Screen
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Show a progress bar, and give what writes a line of metrics and moves the bar."""
    total = recipe.training.rollouts * recipe.training.updates_per_rollout
    with screen.progress("training", total) as bar:

        def sink(line: dict[str, Any]) -> None:
            folder.write_lines("metrics.jsonl", [line])
            news = screen.training_news(line)
            bar.update(bar.task_ids[0], completed=line["step"], news=news)

        yield sink


def load(section: Data) -> list[Problem]:
    """Load the problems of one section of a recipe."""
    return load_problems(
        section.source,
        split=section.split,
        limit=section.limit,
        seed=section.seed,
        template=section.template,
        columns=section.columns,
    )


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
        verifier: Verifier,
        folder: RunFolder,
        screen: Screen,
    ) -> None:
        """Take what stays the same between the evaluations of a run."""
        self.recipe, self.problems, self.tokenizer = recipe, problems, tokenizer
        self.verifier, self.folder, self.screen = verifier, folder, screen

    def __call__(self, when: str, model: Any) -> Evaluation:
        """Evaluate; `when` names the samples file."""
        settings = self.recipe.evaluation
        total = len(self.problems) * settings.samples
        with self.screen.progress(when, total) as bar:
            result = evaluate(
                model,
                self.tokenizer,
                self.problems,
                self.verifier,
                samples=settings.samples,
                temperature=settings.temperature,
                top_p=settings.top_p,
                max_new_tokens=self.recipe.rollout.max_completion_tokens,
                batch_size=settings.batch_size,
                seed=self.recipe.seed,
                progress=lambda done: bar.advance(bar.task_ids[0], done),
            )
        self.folder.write_lines(f"samples/{when}.jsonl", result.lines)
        return result
