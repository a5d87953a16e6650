"""One HTML page on a training run: what it reached, how, and the answers before and after."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

from maspo import files
from maspo.errors import InputError
from maspo.evaluation.folder import Answer, EvaluationFolder
from maspo.lab import formatting
from maspo.lab.formatting import running_mean, significant
from maspo.lab.objective_list import RIVALS, parse_entrants
from maspo.lab.page import render_page, write_page
from maspo.lab.run import text
from maspo.lab.run.charts import EVALUATION, Chart, Series, evaluation_chart, present
from maspo.lab.run.evaluations import AFTER, BEFORE, curve, summary_of
from maspo.lab.run.facts import facts
from maspo.lab.run.plots import chart_figure, training_figures
from maspo.lab.run.replay import SPACE, Replay, replay
from maspo.lab.run.token_plots import token_figures
from maspo.lab.run.tokens import has_tokens
from maspo.recipes import load_recipe
from maspo.sampling import Sample

OUTCOMES = ("correct", "wrong", "unparsable", "timeout", "error")
# What keeps the page light: a browser must open it at once, even on a phone.
MAX_POINTS = 800
MAX_PROBLEMS = 200
MAX_CHARACTERS = 600_000
HEAD, TAIL = 2500, 1500


def write_report(run: Path) -> Path:
    """Write `report.html` and `plots/*.png` into a run folder and return the page's path.

    The page is one file that needs no network. A part of the run that is not there yet (metrics,
    samples after training, summary) is left out. Raises InputError where `run` is not a folder or
    one of its files is not JSON.
    """
    if not run.is_dir():
        raise InputError(f"{run} is not a run folder; give the folder that a training run wrote.")
    rows = files.read_lines(run / "metrics.jsonl")
    replayed = _replayed(run)
    evaluated = _evaluated(run, rows)
    figures = training_figures(rows, run.resolve().name) | (
        token_figures(replayed) if replayed else {}
    )
    if len(evaluated) > 2:
        figures[EVALUATION] = chart_figure(
            *evaluation_chart(evaluated), evaluated, run.resolve().name
        )
    for name, figure in figures.items():
        (run / "plots").mkdir(exist_ok=True)
        figure.savefig(run / "plots" / f"{name}.png")
    return write_page(run / "report.html", _render(run, rows, evaluated, replayed))


def rewrite(run: Path) -> None:
    """Bring summary and page of a finished run in line with its evaluations."""
    path = run / "summary.json"
    if path.exists():
        found = summary_of(run, load_recipe(str(run / "recipe.yaml")))
        files.write_json(path, files.read_json(path) | found)
        write_report(run)


def _replayed(run: Path) -> Replay | None:
    """Give the saved tokens, if there are any, to the usual rivals."""
    if not has_tokens(run):
        return None
    return replay(run, {one.label: one.settings for one in parse_entrants(RIVALS)})


def _render(run: Path, rows: list[dict], evaluated: list[dict], replayed: Replay | None) -> str:
    summary = _read(run / "summary.json")
    found = EvaluationFolder.of_run(run)
    before, after = (found[name].answers() if name in found else [] for name in (BEFORE, AFTER))
    problems = _problems(before, after)
    recipe = run / "recipe.yaml"
    return render_page(
        "report.html.j2",
        run=run.resolve().name,
        summary=summary,
        facts=_facts(recipe, summary),
        pictures=sorted(path.name for path in (run / "plots").glob("*.png")),
        formatting=formatting,
        limiter=text.limiter(summary),
        headline=text.headline(summary),
        verdict=text.no_change_warning(summary),
        warnings=text.run_warnings(summary),
        gate=text.gate_words(summary, rows),
        scores=text.scores(summary),
        rewards=text.mean_rewards(summary),
        saved=text.saved_model(summary),
        outcomes=OUTCOMES,
        charts=_charts(rows, evaluated),
        replayed=replayed.plain() if replayed else None,
        space=SPACE,
        problems=problems,
        problem_count=len({one.problem.id for one in (*before, *after)}),
        sample_count=len(before) + len(after),
        provenance=_flat(_read(run / "provenance.json")),
        recipe=recipe.read_text("utf-8") if recipe.exists() else "",
    )


def _facts(recipe: Path, summary: dict[str, Any]) -> dict[str, str]:
    try:
        return facts(load_recipe(str(recipe)), summary)
    except InputError:
        return {}  # not there yet, or of another version


def _read(path: Path) -> dict[str, Any]:
    return files.read_json(path) if path.exists() else {}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        flat |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat


# --- curves ----------------------------------------------------------------------------------


def _evaluated(run: Path, rows: Sequence[dict]) -> list[dict[str, Any]]:
    """Make lines like those of the metrics out of the evaluations: avg@k with its interval, by step."""
    seconds = {row["step"]: row.get("seconds") for row in rows} | {0: 0.0}
    return [{**one, "seconds": seconds.get(one["step"])} for one in curve(run)]


def _charts(rows: Sequence[dict], evaluated: Sequence[dict]) -> dict[str, Any]:
    """Make the data of the interactive curves: `x` by name, and the charts with their series.

    A long run is thinned: each point is then the mean of `stride` logged lines. The chart of the
    evaluations has an `x` of its own.
    """
    stride = -(-len(rows) // MAX_POINTS) or 1
    x = {"Optimizer step": "step"}
    if rows and all("seconds" in row for row in rows):
        x["Seconds"] = "seconds"
    charts = [_chart(chart, series, rows, stride) for chart, series in present(rows)]
    if len(evaluated) > 2:
        own = {name: [one[key] for one in evaluated] for name, key in x.items()}
        charts.insert(0, {**_chart(*evaluation_chart(evaluated), evaluated, 1), "x": own})
    return {
        "x": {name: _thin([row[key] for row in rows], stride) for name, key in x.items()},
        "charts": charts,
        "stride": stride,
    }


def _chart(
    chart: Chart, series: Sequence[Series], rows: Sequence[dict], stride: int
) -> dict[str, Any]:
    def column(key: str) -> list[float | None]:
        return [row.get(key) for row in rows]

    lines = []
    for one in series:
        raw = column(one.metric)
        low, high = (_thin(column(key), stride) for key in one.band) if one.band else ([], [])
        line = {"raw": _thin(raw, stride), "mean": _thin(running_mean(raw), stride)}
        lines.append({"label": one.label, "color": one.color, **line, "low": low, "high": high})
    looks = {"percent": chart.percent, "log": chart.log, "note": chart.note}
    return {"axis": chart.axis, "group": chart.group, "series": lines, **looks}


def _thin(values: Sequence[float | None], stride: int) -> list[float | None]:
    chunks = (values[start : start + stride] for start in range(0, len(values), stride))
    known = ([v for v in chunk if v is not None] for chunk in chunks)
    return [significant(fmean(chunk)) if chunk else None for chunk in known]


# --- samples ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ShownAnswer:
    """One answer of the model; `text` is None where the page has no room for it."""

    index: int
    outcome: str
    tokens: int
    finish: str
    text: str | None


@dataclass(frozen=True, kw_only=True)
class ShownProblem:
    """A problem with its answers before and after training."""

    id: str
    prompt: str
    answer: str
    before: list[ShownAnswer]
    after: list[ShownAnswer]

    @property
    def shown(self) -> int:
        """Count the samples whose text is on the page."""
        return sum(s.text is not None for s in (*self.before, *self.after))

    @property
    def change(self) -> str:
        """Say which way the share of correct answers went: better, worse, same, or unknown."""
        if not self.before or not self.after:
            return "unknown"
        old, new = _share_correct(self.before), _share_correct(self.after)
        return "better" if new > old else "worse" if new < old else "same"


def _share_correct(samples: Sequence[ShownAnswer]) -> float:
    return sum(s.outcome == "correct" for s in samples) / len(samples)


def _problems(before: Sequence[Answer], after: Sequence[Answer]) -> list[ShownProblem]:
    """Pair the answers by problem, in the order of the file, as many problems as the page holds."""
    pairs: dict[str, tuple[list[Answer], list[Answer]]] = {}
    for side, answers in enumerate((before, after)):
        for one in answers:
            pairs.setdefault(one.problem.id, ([], []))[side].append(one)
    kept = list(pairs.values())[:: -(-len(pairs) // MAX_PROBLEMS) or 1]
    answers = [one for old, new in kept for one in (*old, *new)]
    texts = _fitting_texts([one.sample for one in answers])
    shown = iter([_shown(one, text) for one, text in zip(answers, texts, strict=True)])
    problems = []
    for old, new in kept:
        problem = (old or new)[0].problem
        problems.append(
            ShownProblem(
                id=problem.id,
                prompt=_shorten(problem.prompt[-1]["content"]),
                answer=_gold_text(problem.answer),
                before=list(islice(shown, len(old))),
                after=list(islice(shown, len(new))),
            )
        )
    return problems


def _gold_text(answer: Any) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def _shown(answer: Answer, text: str | None) -> ShownAnswer:
    one = answer.sample
    return ShownAnswer(
        index=one.index, outcome=answer.outcome, tokens=one.tokens, finish=one.finish, text=text
    )


def _fitting_texts(samples: Sequence[Sample]) -> list[str | None]:
    """Choose the texts that fit the page: every problem's first sample, then its second, ..."""
    room = MAX_CHARACTERS
    texts: list[str | None] = [None] * len(samples)
    for number in sorted(range(len(samples)), key=lambda n: samples[n].index):
        text = _shorten(samples[number].text)
        room -= len(text)
        if room < 0:
            break
        texts[number] = text
    return texts


def _shorten(text: str) -> str:
    left_out = len(text) - HEAD - TAIL
    if left_out <= 0:
        return text
    return f"{text[:HEAD]}\n\n[… {left_out:,} characters left out …]\n\n{text[-TAIL:]}"
