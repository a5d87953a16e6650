"""An evaluation as a user runs it: draw what is missing, judge it, show the scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maspo.data.columns import check_template
from maspo.data.loading import with_template
from maspo.evaluation.benchmarks import load_benchmarks
from maspo.evaluation.drawing import draw_missing
from maspo.evaluation.folder import EvaluationFolder
from maspo.evaluation.prompts import default_template, token_budget
from maspo.evaluation.score_file import Scores
from maspo.evaluation.scoring import score
from maspo.lab.checks import check_golds_reached
from maspo.lab.console import Screen
from maspo.lab.provenance import provenance, versions
from maspo.lab.scores.terminal import settings_lines, show_changes, show_scores, tell
from maspo.models.load import check_source, load_tokenizer, read_limits
from maspo.recipes.sections.reward import RewardSection
from maspo.rewards import RewardSet
from maspo.sampling import Sampler, Settings
from maspo.sampling.engines import BATCH_SIZES, choose_dtype, choose_engine, open_sampler
from maspo.sampling.text import check_template_variables, prompt_tokens


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """What a user asks of an evaluation; None and `auto` leave it to the model or the engine."""

    model: str
    benchmarks: Sequence[str]
    data: Path | None
    columns: Mapping[str, str] | None
    limit: int | None
    samples: int
    temperature: float
    top_p: float
    max_tokens: int | None
    template: str | None
    chat_template: str | None
    chat_template_kwargs: Mapping[str, Any] | None
    engine: str
    dtype: str
    batch_size: int | None
    seed: int


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """What an evaluation is drawn with, nothing left open: the content of eval.json.

    The folder of the data is not among it: what was in it is in problems.jsonl.
    """

    model: str
    benchmarks: list[str]
    """Their names."""
    limit: int | None
    """Problems of each benchmark; None is all."""
    samples: int
    temperature: float
    top_p: float
    max_tokens: int
    template: str
    chat_template: str | None
    """`plain` or a file, as it was asked for; None is the model's own."""
    chat_template_kwargs: Mapping[str, Any] | None
    engine: str
    dtype: str
    batch_size: int
    seed: int

    @property
    def sampling(self) -> Settings:
        """What the sampler needs of it."""
        return Settings(
            samples=self.samples,
            temperature=self.temperature,
            top_p=self.top_p,
            max_new_tokens=self.max_tokens,
            batch_size=self.batch_size,
            seed=self.seed,
        )


def draw_evaluation(
    asked: EvaluationRequest, folder: EvaluationFolder, screen: Screen, rewards: RewardSet
) -> None:
    """Begin or continue an evaluation: afterwards the folder holds every sample.

    What a user can get wrong is checked before the model is loaded; InputError says what. Golds that
    cannot be reached are shown.
    """
    check_source(asked.model)
    problems = load_benchmarks(
        asked.benchmarks, data=asked.data, limit=asked.limit, columns=asked.columns
    )
    tokenizer = load_tokenizer(asked.model, asked.chat_template)
    variables = asked.chat_template_kwargs
    check_template_variables(tokenizer, variables)
    template = default_template(tokenizer) if asked.template is None else asked.template
    check_template(template)
    problems = {
        name: [with_template(one, template) for one in each] for name, each in problems.items()
    }
    prompts = [
        prompt_tokens(tokenizer, one, variables) for each in problems.values() for one in each
    ]
    tokens, context = token_budget(asked.max_tokens, read_limits(asked.model), prompts)
    engine = choose_engine(asked.engine)
    settings = EvaluationSettings(
        model=asked.model,
        benchmarks=list(problems),
        limit=asked.limit,
        samples=asked.samples,
        temperature=asked.temperature,
        top_p=asked.top_p,
        max_tokens=tokens,
        template=template,
        chat_template=asked.chat_template,
        chat_template_kwargs=variables,
        engine=engine,
        dtype=choose_dtype(asked.dtype),
        batch_size=BATCH_SIZES[engine] if asked.batch_size is None else asked.batch_size,
        seed=asked.seed,
    )
    sampling = settings.sampling  # checks itself, before anything is written
    record = asdict(settings)
    folder.begin(record | {"provenance": provenance(asked.seed)}, problems)
    tell(screen.console, *settings_lines(record, problems, folder.path))

    check_golds_reached(problems, rewards, screen, strict=False)

    def sampler() -> Sampler:
        return open_sampler(
            engine,
            asked.model,
            dtype=settings.dtype,
            context=context,
            chat_template=asked.chat_template,
            chat_template_kwargs=variables,
        )

    draw_counted(folder, sampling, sampler, screen)


def draw_counted(
    folder: EvaluationFolder, settings: Settings, sampler: Callable[[], Sampler], screen: Screen
) -> None:
    """Draw the samples that the folder does not hold yet, and show how far it is."""
    with screen.counter("sampling") as counter:

        def begin(there: int, missing: int) -> None:
            tell(screen.console, f"{there} samples are there, {missing} to draw")
            counter.begin(missing)

        draw_missing(folder, settings, sampler, begin=begin, progress=counter.advance)


def rewards_of(folder: EvaluationFolder, *, workers: int, time_limit: float | None) -> RewardSet:
    """Start what judges an evaluation: the rewards of its training run's recipe, or the verifier."""
    known = folder.settings().get("reward", {})
    changes = {"workers": workers} | ({} if time_limit is None else {"time_limit": time_limit})
    return RewardSection.model_validate({**known, **changes}).start()


def score_evaluation(folder: EvaluationFolder, screen: Screen, rewards: RewardSet) -> Scores:
    """Verify every sample; show the scores, and which verdicts are other than before."""
    drawn = folder.all_samples()
    with screen.counter("verifying", sum(map(len, drawn.values()))) as counter:
        scores, changes = score(folder, drawn, rewards, versions(), counter.advance)
    show_scores(screen.console, scores)
    show_changes(screen.console, changes)
    return scores
