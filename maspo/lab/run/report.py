"""One HTML page on a training run: what it reached, how, and the answers before and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

from maspo import files
from maspo.errors import InputError
from maspo.lab import formatting
from maspo.lab.formatting import running_mean, significant
from maspo.lab.objective_list import RIVALS, parse_entrants
from maspo.lab.page import render_page, write_page
from maspo.lab.run import text
from maspo.lab.run.charts import present
from maspo.lab.run.plots import training_figures
from maspo.lab.run.replay import SPACE, Replay, replay
from maspo.lab.run.token_plots import token_figures
from maspo.lab.run.tokens import has_tokens

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
    figures = training_figures(rows) | (token_figures(replayed) if replayed else {})
    for name, figure in figures.items():
        (run / "plots").mkdir(exist_ok=True)
        figure.savefig(run / "plots" / f"{name}.png")
    return write_page(run / "report.html", _render(run, rows, replayed))


def _replayed(run: Path) -> Replay | None:
    """Give the saved tokens, if there are any, to the usual rivals."""
    if not has_tokens(run):
        return None
    return replay(run, {one.label: one.settings for one in parse_entrants(RIVALS)})


def _render(run: Path, rows: list[dict], replayed: Replay | None) -> str:
    summary = _read(run / "summary.json")
    before = files.read_lines(run / "samples" / "before.jsonl")
    after = files.read_lines(run / "samples" / "after.jsonl")
    problems = _problems(before, after)
    recipe = run / "recipe.yaml"
    return render_page(
        "report.html.j2",
        run=run.resolve().name,
        summary=summary,
        formatting=formatting,
        limiter=text.limiter(summary),
        headline=text.headline(summary),
        verdict=text.verdict(summary),
        gate=text.gate_words(summary, rows),
        scores=text.scores(summary),
        outcomes=OUTCOMES,
        charts=_charts(rows),
        replayed=replayed.plain() if replayed else None,
        space=SPACE,
        problems=problems,
        problem_count=len({line["problem_id"] for line in (*before, *after)}),
        sample_count=len(before) + len(after),
        provenance=_flat(_read(run / "provenance.json")),
        recipe=recipe.read_text("utf-8") if recipe.exists() else "",
    )


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


def _charts(rows: Sequence[dict]) -> dict[str, Any]:
    """Make the data of the interactive curves: `x` by name, and the charts with their series.

    A long run is thinned: each point is then the mean of `stride` logged lines.
    """
    stride = -(-len(rows) // MAX_POINTS) or 1

    def column(key: str) -> list[float | None]:
        return [row.get(key) for row in rows]

    def thin(values: Sequence[float | None]) -> list[float | None]:
        chunks = (values[start : start + stride] for start in range(0, len(values), stride))
        known = ([v for v in chunk if v is not None] for chunk in chunks)
        return [significant(fmean(chunk)) if chunk else None for chunk in known]

    charts = []
    for chart, series in present(rows):
        lines = []
        for one in series:
            raw = column(one.metric)
            low, high = (thin(column(key)) for key in one.band) if one.band else ([], [])
            line = {"raw": thin(raw), "mean": thin(running_mean(raw)), "low": low, "high": high}
            lines.append({"label": one.label, "color": one.color, **line})
        looks = {"percent": chart.percent, "log": chart.log, "note": chart.note}
        charts.append({"axis": chart.axis, "group": chart.group, "series": lines, **looks})
    x = {"Optimizer step": thin(column("step"))}
    if rows and all("seconds" in row for row in rows):
        x["Seconds"] = thin(column("seconds"))
    return {"x": x, "charts": charts, "stride": stride}


# --- samples ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One answer of the model; `text` is None where the page has no room for it."""

    index: int
    outcome: str
    tokens: int
    finish: str
    text: str | None


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A problem with its answers before and after training."""

    id: str
    prompt: str
    answer: str
    before: list[Sample]
    after: list[Sample]

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


def _share_correct(samples: Sequence[Sample]) -> float:
    return sum(s.outcome == "correct" for s in samples) / len(samples)


def _problems(before: Sequence[dict], after: Sequence[dict]) -> list[Problem]:
    """Pair the samples by problem, in file order, as many problems as the page holds."""
    pairs: dict[Any, tuple[list[dict], list[dict]]] = {}
    for side, lines in enumerate((before, after)):
        for line in lines:
            pairs.setdefault(line["problem_id"], ([], []))[side].append(line)
    kept = list(pairs.values())[:: -(-len(pairs) // MAX_PROBLEMS) or 1]
    lines = [line for old, new in kept for line in (*old, *new)]
    texts = _fitting_texts(lines)
    samples = iter([_sample(line, text) for line, text in zip(lines, texts, strict=True)])
    problems = []
    for old, new in kept:
        first = (old or new)[0]
        problems.append(
            Problem(
                id=str(first["problem_id"]),
                prompt=_shorten(first["prompt"]),
                answer=str(first["answer"]),
                before=list(islice(samples, len(old))),
                after=list(islice(samples, len(new))),
            )
        )
    return problems


def _sample(line: dict, text: str | None) -> Sample:
    fields = {key: line[key] for key in ("index", "outcome", "tokens", "finish")}
    return Sample(text=text, **fields)


def _fitting_texts(lines: Sequence[dict]) -> list[str | None]:
    """Choose the texts that fit the page: every problem's first sample, then its second, ..."""
    room = MAX_CHARACTERS
    texts: list[str | None] = [None] * len(lines)
    for number in sorted(range(len(lines)), key=lambda n: lines[n]["index"]):
        text = _shorten(lines[number]["text"])
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
