"""The evaluations of a training run: folders like those of `maspo eval`, drawn as training goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from maspo.data import Problem, sources
from maspo.evaluation.drawing import draw_missing
from maspo.evaluation.folder import RUN_PART, EvaluationFolder
from maspo.evaluation.score_file import BenchmarkScores, Scores
from maspo.evaluation.scores import score_differences
from maspo.evaluation.scoring import score
from maspo.lab.console import Screen
from maspo.lab.provenance import provenance, versions
from maspo.recipes import Recipe
from maspo.rewards import RewardSet
from maspo.sampling import Sampler, Settings
from maspo.sampling.processes import Processes

BEFORE, AFTER = "before", "after"
_ROLLOUT = "rollout-"


def name_of(rollouts: int, total: int) -> str:
    """Name the evaluation after so many rollouts of training."""
    if rollouts == 0:
        return BEFORE
    return AFTER if rollouts == total else f"{_ROLLOUT}{rollouts:04d}"


@dataclass(kw_only=True)
class Evaluations:
    """Draws and scores the evaluations of a run; every process has one and calls it alike."""

    recipe: Recipe
    problems: Sequence[Problem]
    rewards: RewardSet
    """Judge the samples, in the first process."""
    run: Path
    screen: Screen
    processes: Processes

    def evaluate(
        self, rollouts: int, sampler: Sampler, stop: Callable[[], bool] = lambda: False
    ) -> Scores | None:
        """Evaluate the model after so many rollouts, or go on with that, and return its scores.

        Args:
            rollouts: of training, before this evaluation.
            sampler: samples from the model; not used where all samples are on file.
            stop: asked after every chunk; once true in any process, drawing ends.

        Returns None where drawing was stopped, and in every process but the first.
        """
        name = name_of(rollouts, self.recipe.training.rollouts)
        folder = EvaluationFolder(self.run / RUN_PART / name)
        if self.processes.first:
            record = evaluation_record(self.recipe, rollouts)
            folder.begin(record, {record["benchmarks"][0]: self.problems})
        with self.screen.counter(name) as counter:
            whole = draw_missing(
                folder, self._settings, lambda: sampler, processes=self.processes,
                begin=lambda there, missing: counter.begin(missing),
                progress=lambda drawn, _: counter.advance(drawn), stop=stop,
            )  # fmt: skip
        found = None
        if whole and self.processes.first:
            found = self._scores(folder)
        self.processes.wait()
        return found

    def _scores(self, folder: EvaluationFolder) -> Scores:
        if not folder.is_scored:
            score(folder, folder.all_samples(), self.rewards, versions())
        return folder.scores()

    @property
    def _asked(self) -> Any:
        return self.recipe.evaluation

    @property
    def _settings(self) -> Settings:
        return Settings(
            samples=self._asked.samples,
            temperature=self._asked.temperature,
            top_p=self._asked.top_p,
            max_new_tokens=self.recipe.rollout.max_completion_tokens,
            batch_size=self._asked.batch_size,
            seed=self.recipe.seed,
        )


def evaluation_record(
    recipe: Recipe, rollouts: int, *, engine: str | None = None
) -> dict[str, Any]:
    """Write down what is evaluated after so many rollouts, as `maspo eval` does.

    `engine` is what sampled, where that is not what the recipe names. The problems stand in the folder
    under the one name in `benchmarks`.
    """
    asked: Any = recipe.evaluation
    source = asked.data.source
    return {
        "model": recipe.model.source,
        "rollouts": rollouts,
        "step": rollouts * recipe.training.updates_per_rollout,
        "benchmarks": [Path(source).stem if sources.is_file(source) else source],
        "limit": asked.data.limit,
        "samples": asked.samples,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "max_tokens": recipe.rollout.max_completion_tokens,
        "template": asked.data.template,
        "engine": engine or recipe.rollout.engine,
        "dtype": recipe.model.dtype,
        "batch_size": asked.batch_size,
        "seed": recipe.seed,
        "chat_template": recipe.model.chat_template,
        "chat_template_kwargs": recipe.model.chat_template_kwargs,
        "reward": recipe.reward.model_dump(),
        "provenance": provenance(recipe.seed),
    }


# --- what they say, for the summary of the run ---------------------------------------------------


def summary_of(run: Path, recipe: Recipe) -> dict[str, Any]:
    """Return the figures of a run's evaluations for its summary.

    `before` and `after` hold those of the first and last, `difference` their paired difference; null
    where the run was not evaluated. `evaluations` lists the avg@k on the way with its interval, and
    `saved` says after how many rollouts the saved model was.
    """
    scored = _scored(run)
    before, after = (_only(scored[n]) if n in scored else None for n in (BEFORE, AFTER))
    averages = average_by_rollouts(run)
    asked, total = recipe.evaluation, recipe.training.rollouts
    best = best_of(averages) if asked and asked.keep_best else None
    return {
        "before": None if before is None else _figures_of(before),
        "after": None if after is None else _figures_of(after),
        "difference": None if before is None or after is None else _gain(before, after),
        "evaluations": curve(run),
        "saved": {"rollouts": total if best is None else best, "best": best is not None},
    }


def curve(run: Path) -> list[dict[str, Any]]:
    """Return when each scored evaluation was, and its `metric` avg@k with `value`, `low` and `high`."""
    found = []
    for name, scores in _scored(run).items():
        metric, estimate = next(iter(_only(scores).metrics.items()))
        when = {key: scores.settings[key] for key in ("rollouts", "step")}
        found.append({"name": name, **when, "metric": metric, **asdict(estimate)})
    return found


def average_by_rollouts(run: Path) -> dict[int, float]:
    """Return avg@k by the rollouts trained before it, of every scored evaluation."""
    return {one["rollouts"]: one["value"] for one in curve(run)}


def best_of(averages: Mapping[int, float]) -> int | None:
    """Return the rollouts of the highest score after training began, the earliest of equals."""
    trained = {rollouts: score for rollouts, score in averages.items() if rollouts}
    return max(sorted(trained), key=trained.__getitem__, default=None)


def _scored(run: Path) -> dict[str, Scores]:
    return {n: f.scores() for n, f in EvaluationFolder.of_run(run).items() if f.is_scored}


def _only(scores: Scores) -> BenchmarkScores:
    """Return the scores of the one benchmark of a run's evaluation."""
    [found] = scores.benchmarks.values()
    return found


def figures_of(scores: Scores) -> dict[str, Any]:
    """Return what a summary holds of the scores of one evaluation."""
    return _figures_of(_only(scores))


def tracked(scores: Scores) -> dict[str, float]:
    """Return the scores of one evaluation as a tracker shows them, each with the ends of its interval."""
    found = {}
    for name, estimate in _only(scores).metrics.items():
        ends = {"": estimate.value, "/low": estimate.low, "/high": estimate.high}
        found |= {f"evaluation/{name}{end}": one for end, one in ends.items() if one is not None}
    return found


def _figures_of(scores: BenchmarkScores) -> dict[str, Any]:
    found = scores.metrics
    kept = {"problems", "samples", "mean_tokens", "truncated", "outcomes", "score"}
    return {
        **{name: estimate.value for name, estimate in found.items()},
        "intervals": {name: [e.low, e.high] for name, e in found.items() if e.low is not None},
        **scores.model_dump(mode="json", include=kept),
    }


def _gain(before: BenchmarkScores, after: BenchmarkScores) -> dict[str, list[float]]:
    """Return value and interval of the paired difference; a single problem allows none."""
    gain = score_differences({"": before}, {"": after}).macro
    return {name: list(astuple(e)) for name, e in gain.items() if e.low is not None}
