"""`maspo eval` and `maspo score`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from maspo.cli.options import (
    JSON,
    ChatTemplate,
    Dtype,
    ModelName,
    Precision,
    SamplerEngine,
    SamplerName,
    SamplingSeed,
    Temperature,
    TopP,
)
from maspo.cli.terminal import console, for_programs, print_json, quiet, say
from maspo.errors import InputError

Workers = Annotated[int, typer.Option(help="Processes that verify answers.")]
TimeLimit = Annotated[
    float, typer.Option(help="Seconds for one answer, after which its check ends.")
]


def evaluate(
    model: ModelName,
    benchmarks: Annotated[
        str, typer.Option(help="Names, or your own .jsonl files, with commas between them.")
    ],
    samples: Annotated[int, typer.Option(help="Completions of each problem.")] = 32,
    temperature: Temperature = 1.0,
    top_p: TopP = 0.95,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            help="Longest completion; without it 4096, or what the model's context leaves."
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(help="What is asked, {problem} in it; without it that of the model's family."),
    ] = None,
    chat_template: ChatTemplate = None,
    chat_template_kwargs: Annotated[
        str | None,
        typer.Option(help='Variables of the chat template as JSON, as {"enable_thinking": false}.'),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of benchmark files; without it they come from the hub."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="Of your own files, as prompt=task,answer=gold, where they are not found."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="The first problems of each benchmark, no more.")
    ] = None,
    engine: SamplerEngine = SamplerName.AUTO,
    dtype: Dtype = Precision.AUTO,
    batch_size: Annotated[
        int | None, typer.Option(help="Completions decoded together; without it the engine's own.")
    ] = None,
    seed: SamplingSeed = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the evaluation; one that was interrupted goes on."),
    ] = None,
    workers: Workers = 2,
    time_limit: TimeLimit = 5.0,
    as_json: JSON = False,
) -> None:
    """Measure a model on benchmarks: every sample on file, avg@k, pass@k and maj@k with intervals."""
    for_programs(as_json)
    quiet()
    from maspo.evaluation.folder import EvaluationFolder
    from maspo.lab.console import Screen
    from maspo.lab.scores.evaluate import EvaluationRequest, draw_evaluation, score_evaluation
    from maspo.rewards import Limits, RewardSet

    asked = EvaluationRequest(
        model=model,
        benchmarks=[name.strip() for name in benchmarks.split(",") if name.strip()],
        data=data,
        columns=_columns(columns),
        limit=limit,
        samples=samples,
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_tokens,
        template=template,
        chat_template=chat_template,
        chat_template_kwargs=_variables(chat_template_kwargs),
        engine=engine.value,
        dtype=dtype.value,
        batch_size=batch_size,
        seed=seed,
    )
    folder, screen = EvaluationFolder(out or _new_folder(model)), Screen(console)
    with RewardSet.start(limits=Limits(workers=workers, time_limit=time_limit)) as rewards:
        draw_evaluation(asked, folder, screen, rewards)
        scores = score_evaluation(folder, screen, rewards)
    if as_json:
        print_json({"folder": str(folder.path), **scores.model_dump(mode="json")})


def score(
    where: Annotated[
        Path,
        typer.Argument(help="Folder of an evaluation or of a training run, or a samples.jsonl."),
    ],
    against: Annotated[
        Path | None,
        typer.Option(help="Another scored evaluation of the same problems: show the difference."),
    ] = None,
    workers: Workers = 2,
    time_limit: Annotated[
        float | None,
        typer.Option(help="Seconds for one answer; without it 5, or what the run's recipe says."),
    ] = None,
    as_json: JSON = False,
) -> None:
    """Score the samples of an evaluation anew, without a model, and show which verdicts changed."""
    from maspo.evaluation.folder import EvaluationFolder
    from maspo.evaluation.scores import score_differences
    from maspo.lab.console import Screen
    from maspo.lab.run.report import rewrite
    from maspo.lab.scores.evaluate import rewards_of, score_evaluation
    from maspo.lab.scores.terminal import show_differences

    for_programs(as_json)
    found = {}
    other = None if against is None else EvaluationFolder.existing(against)
    before = None if other is None else other.scores()
    of_run = EvaluationFolder.of_run(where)
    folders = [*of_run.values()] or [EvaluationFolder.existing(where)]
    for folder in folders:
        if of_run:
            say(folder.path.name)
        with rewards_of(folder, workers=workers, time_limit=time_limit) as rewards:
            after = score_evaluation(folder, Screen(console), rewards)
        found[str(folder.path)] = after.model_dump(mode="json")
        if other is not None and before is not None:
            difference = score_differences(before.benchmarks, after.benchmarks)
            show_differences(console, difference, (str(other.path), str(folder.path)))
    if of_run:
        rewrite(where)
    if as_json:
        print_json([{"folder": place, **scores} for place, scores in found.items()])


def _columns(given: str | None) -> dict[str, str] | None:
    if given is None:
        return None
    pairs = [word.partition("=") for word in given.split(",")]
    if not all(name for _, _, name in pairs):
        raise InputError(f"--columns takes prompt=NAME, answer=NAME and id=NAME, not {given!r}")
    return {role: name for role, _, name in pairs}


def _variables(given: str | None) -> dict[str, Any] | None:
    if given is None:
        return None
    try:
        found = json.loads(given)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputError(
            f'--chat-template-kwargs takes a JSON object, as {{"enable_thinking": false}}, not {given}'
        )
    return found or None


def _new_folder(model: str) -> Path:
    name = Path(model).stem.lower()
    return Path("runs") / f"eval-{name}-{time.strftime('%Y%m%d-%H%M%S')}"
