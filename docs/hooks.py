"""What the site reads from the code when it is built, and every page as Markdown beside its HTML.

Pages that are listed here have no file in docs/: nothing is written twice.
"""

from __future__ import annotations

import importlib
import inspect
import io
import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Files of the repository that are pages of the site, by the page's place."""

_written: dict[str, tuple[str, str]] = {}
"""Title and Markdown of every page that was rendered, by its place."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the pages of the objectives in the navigation."""
    from maspo.objectives import BUILT_IN

    _written.clear()
    for section in config.nav or []:
        for entry in section.get("Reference") or [] if isinstance(section, dict) else []:
            if "Objectives" in entry:
                pages = [{name: f"reference/objectives/{name}.md"} for name in BUILT_IN]
                entry["Objectives"] = ["reference/objectives/index.md", *pages]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of the code, and those of the repository's root."""
    for place, content in generated():
        files.append(File.generated(config, place, content=content))
    for file in files.documentation_pages():
        file.inclusion = InclusionLevel.INCLUDED
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put in the files that a page shows, and keep what was written for the Markdown beside it."""
    text = re.sub(r"<!-- file: (\S+) -->\n", lambda found: _shown(found[1]), markdown)
    here = posixpath.dirname(page.file.src_uri)
    for name, place in {**OUTSIDE, "README.md": "index.md"}.items():
        up = posixpath.relpath(f"../{name}", here or ".")
        text = text.replace(f"]({up})", f"]({posixpath.relpath(place, here or '.')})")
    _written[page.file.src_uri] = (str(page.title), text)
    return text


def on_post_build(config: MkDocsConfig) -> None:
    """Write each page's Markdown beside its HTML, and llms.txt, which lists them."""
    site = Path(config.site_dir)
    lines = [f"# {config.site_name}", "", f"> {config.site_description}", ""]
    for place, (title, text) in sorted(_written.items()):
        target = site / place.replace("README.md", "index.md")
        target.parent.mkdir(parents=True, exist_ok=True)
        text = re.sub(r"^::: (\S+)$", lambda found: _documented(found[1]), text, flags=re.MULTILINE)
        target.write_text(re.sub(r"(\]\([^)\s]*)README\.md", r"\1index.md", text), "utf-8")
        lines.append(f"- [{title}]({target.relative_to(site).as_posix()})")
    (site / "llms.txt").write_text("\n".join(lines) + "\n", "utf-8")


def generated() -> Iterator[tuple[str, str | bytes]]:
    """Yield place and content of everything that has no file in docs/."""
    for name, place in OUTSIDE.items():
        yield place, (ROOT / name).read_text("utf-8").replace("](docs/", "](")
    yield from _objectives()
    yield "reference/recipe.md", _recipe()
    yield "reference/commands.md", _commands()
    yield "reference/api.md", _api()
    yield "reference/metrics.md", _metrics()
    yield "reference/versions.md", _versions()


def _documented(path: str) -> str:
    """Return a public name with signature and docstring, as the Markdown of the API has it."""
    home, _, name = path.rpartition(".")
    value = getattr(importlib.import_module(home), name)
    if not callable(value):
        return f"## {name}"
    error = isinstance(value, type) and issubclass(value, Exception)
    signature = "" if error else f"```python\n{name}{inspect.signature(value)}\n```\n\n"
    return f"## {name}\n\n{signature}{inspect.getdoc(value) or ''}"


def _shown(place: str) -> str:
    """Return a file of docs/ as a block of code."""
    text = (ROOT / "docs" / place).read_text("utf-8")
    return f"```{Path(place).suffix.removeprefix('.').replace('py', 'python')}\n{text}```\n"


def _table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    cells = [[" ".join(str(cell).split()).replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


# --- objectives ------------------------------------------------------------------------------


def _objectives() -> Iterator[tuple[str, str | bytes]]:
    from maspo.cli.show import objectives_table
    from maspo.objectives import BUILT_IN

    intro = (
        "# Objectives\n\nEach is a frozen dataclass. Its fields are its hyperparameters. "
        "Its docstring is its page: equation, source, and what differs "
        "between paper, release and this implementation. `maspo objectives NAME` "
        "prints the same.\n\n"
    )
    linked = re.sub(r"^\| `(\w+)`", r"| [`\1`](\1.md)", objectives_table(), flags=re.MULTILINE)
    yield "reference/objectives/index.md", intro + linked
    for name, kind in BUILT_IN.items():
        picture = _picture(kind)
        yield f"reference/objectives/{name}.md", _objective(name, kind, picture is not None)
        if picture is not None:
            yield f"reference/objectives/{name}.png", picture


def _objective(name: str, kind: Any, pictured: bool) -> str:
    from maspo.core.advantages import DEFAULT_ADVANTAGES
    from maspo.core.reduction import DEFAULT_REDUCTION
    from maspo.core.settings import settings_of

    first, _, rest = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")
    outline = kind().outline()
    rows = [
        (f"`{f.name}`", known.symbol, f"`{f.default}`", _allowed(f.default, known), known.doc)
        for f, known in settings_of(kind)
    ]
    told = [
        ("source", f"[arXiv:{kind.arxiv}](https://arxiv.org/abs/{kind.arxiv})"),
        ("ratio of", outline.level),
        ("gate", f"{outline.gate}, where {outline.side}"),
        ("radius", kind.radius),
        ("needs beside log-probabilities", ", ".join(kind.inputs) or "nothing"),
        ("advantages, where none are named", kind.advantages or DEFAULT_ADVANTAGES),
        ("reduction, where none is named", kind.reduction or DEFAULT_REDUCTION),
        ("when training is unstable", kind.when_unstable),
    ]
    image = (
        f"\n![Weight of a token against its ratio under {kind.title}]({name}.png)\n\n"
        "The weight of a single token at the defaults: the factor on A ∇log π. "
        "Left A = 1, right A = -1; one line for each probability "
        "under the old policy. A line ends where the new probability reaches 1.\n"
        if pictured
        else ""
    )
    return (
        f"# {kind.title}\n\n{first}\n\n{rest}\n{image}\n## Hyperparameters\n\n"
        + _table(("setting", "symbol", "default", "allowed", "meaning"), rows)
        + "\n## At a glance\n\n"
        + _table(("", ""), told)
        + _studied(name)
        + f"\n## Use\n\nIn a recipe:\n\n```yaml\nobjective: {{name: {name}}}\n```\n\nIn Python:\n\n"
        f"```python\nimport maspo\n\nobjective = maspo.make_objective({name!r})\n```\n"
    )


def _studied(name: str) -> str:
    """List how an objective did in the studies, from their results."""
    rows = []
    for file in sorted(ROOT.glob("docs/studies/*/results.json")):
        found = json.loads(file.read_text("utf-8"))
        for group in found["groups"]:
            for one in group["objectives"]:
                if one["objective"] == name:
                    study = f"[{file.parent.name}](../../studies/{file.parent.name}/report.md)"
                    setup = (group["updates_per_rollout"], f"{one['learning_rate']:g}")
                    rows.append((study, *setup, _percent(one["score"]), one["verdict"] or ""))
    columns = (
        "study",
        "updates per rollout",
        "learning rate",
        "avg@k after",
        "against its baseline",
    )
    about = (
        "Means over seeds with 95 % intervals, on small models and small tasks; "
        "[the studies](../../studies/README.md) say what follows from them, and what does not.\n\n"
    )
    return "\n## In our studies\n\n" + about + _table(columns, rows) if rows else ""


def _percent(score: dict[str, float]) -> str:
    return "{value:.1%} ({low:.1%} to {high:.1%})".format(**score)


def _allowed(default: Any, known: Any) -> str:
    return "true or false" if isinstance(default, bool) else known.span


def _picture(kind: Any) -> bytes | None:
    """Draw the weight of a token against its ratio; None where it needs a group or a batch."""
    import torch
    from matplotlib.figure import Figure

    from maspo.lab.run.plots import MASPO_SHADES, weight_curve
    from maspo.lab.style import style_axes

    if kind.inputs or kind.couples_batch:
        return None
    figure = Figure(figsize=(7.2, 2.8), dpi=110, layout="constrained", facecolor="white")
    for axes, sign in zip(figure.subplots(1, 2), (1, -1), strict=True):
        for probability, color in MASPO_SHADES.items():
            ratio = torch.linspace(0.01, min(4, 1 / probability), 400)
            weight = weight_curve(kind(), ratio, probability, sign)
            axes.plot(ratio, weight, color=color, label=f"$π_{{old}}$ = {probability}")
        style_axes(axes)
        axes.set_xlabel("ratio ρ")
        axes.set_title(f"A = {sign}", fontsize=9)
        axes.set_xlim(0, 4)
    figure.axes[0].set_ylabel("weight")
    figure.axes[0].legend(frameon=False, fontsize=8)
    written = io.BytesIO()
    figure.savefig(written, format="png", metadata={"Software": None})
    return written.getvalue()


# --- recipes, commands, API ------------------------------------------------------------------


def _recipe() -> str:
    from maspo.recipes.reference import recipe_fields

    text = (
        "# Recipe fields\n\nA recipe is one YAML file. Every key, as `--set` takes it. "
        "`maspo recipes fields` prints the same, `maspo recipes schema` is for editors. "
        "A key that is not here is an error.\n"
    )
    groups: dict[str, list[tuple[str, ...]]] = {}
    for field in recipe_fields():
        row = (f"`{field.key}`", field.type, _yaml(field.default), field.meaning)
        groups.setdefault(field.key.partition(".")[0], []).append(row)
    single = [row for rows in groups.values() if len(rows) == 1 for row in rows]
    groups = {"The run": single, **{k: rows for k, rows in groups.items() if len(rows) > 1}}
    for name, rows in groups.items():
        text += f"\n## {name}\n\n" + _table(("key", "type", "default", "meaning"), rows)
    return text


def _yaml(value: Any) -> str:
    """Write a default as a recipe has it; nothing for an empty text."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"`{text}`" if text else ""


def _commands() -> str:
    import typer

    from maspo.cli.app import app

    root = typer.main.get_command(app)
    text = (
        "# Commands\n\nRead from the commands themselves; `maspo COMMAND --help` prints the same.\n"
    )
    return text + "".join(_command(root, "maspo"))


def _command(command: Any, name: str) -> Iterator[str]:
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    yield f"\n## {name}\n\n{inspect.cleandoc(command.help or '')}\n\n```text\n{usage}\n```\n\n"
    told = [one.get_help_record(context) for one in command.params]
    rows = [(f"`{record[0]}`", record[1]) for record in told if record is not None]
    if rows:
        yield _table(("argument or option", "meaning"), rows)
    for word, inner in getattr(command, "commands", {}).items():
        yield from _command(inner, f"{name} {word}")


def _api() -> str:
    """List the public names that are no objectives, which have pages of their own."""
    import maspo
    from maspo.objectives import BUILT_IN

    names = sorted(set(maspo.__all__) - {kind.__name__ for kind in BUILT_IN.values()})
    text = (
        "# Python API\n\nThe public names of `maspo` but the [objectives](objectives/index.md). "
        "`import maspo` costs torch and nothing else. "
        "Tensors are `[batch, time]`, log-probabilities in nats.\n"
    )
    homes = [(_home(name), name) for name in names]
    text += "".join(f"\n::: {home}.{name}\n" for home, name in homes)
    text += "\n::: maspo.core.objective.GatedObjective\n\n::: maspo.core.batch.TokenBatch\n"
    return text + "\n::: maspo.engines.host.host_loss\n"


def _home(name: str) -> str:
    import maspo

    homes = (module for module, names in maspo._HOMES.items() if name in names)
    return next(homes, "maspo.objectives")


# --- metrics, versions -----------------------------------------------------------------------


def _metrics() -> str:
    from maspo.core.diagnostics import gate_metrics
    from maspo.lab.run.charts import CHARTS

    rows = [
        (f"`{series.metric}`", chart.axis, chart.note, chart.group)
        for chart in CHARTS
        for series in chart.series
    ]
    about = inspect.cleandoc(gate_metrics.__doc__ or "")
    return (
        "# Metrics\n\n`metrics.jsonl` of a run holds one line a step. Names of TRL stay TRL's; "
        "ours are under `maspo/`. With verl they are under `actor/maspo/`.\n\n## What the report shows\n\n"
        + _table(("metric", "what", "meaning", "group"), rows)
        + f"\n## The gate\n\n{about}\n\nWhat is normal: with the first update of a rollout "
        "`maspo/ratio_mean` is 1 and `maspo/gate_mean` is 1. With later updates the ratios spread. "
        "In [our studies](../studies/README.md) the gate leaves more than 99 % "
        "of the weight at a tuned learning rate.\n\n"
        "## Others\n\n"
        + _table(
            ("metric", "meaning"),
            [
                ("`outcome/correct`, `.../wrong`, `.../unparsable`, `.../timeout`, `.../error`",
                 "share of the rollout's completions with that verdict"),
                ("`maspo/update_skipped`", "1 where an update had no finite gradient and was left out"),
                ("`maspo/kl`", "the KL term, mean over tokens, without its weight"),
                ("`sampling/...`", "how far the probabilities of vLLM and of the trainer are apart; TRL's"),
            ],
        )
    )  # fmt: skip


def _versions() -> str:
    import tomllib

    from maspo.engines.trl.names import SUPPORTED as TRL
    from maspo.engines.verl.names import SUPPORTED as VERL

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    rows = [(one.title, f"`{one.window}`", one.said()) for one in (TRL, VERL)]
    text = (
        "# Versions\n\n## Engines\n\n"
        + _table(("engine", "taken", "tested"), rows)
        + f"\n## Python and packages\n\nPython `{project['requires-python']}`, "
        + f"`{'`, `'.join(project['dependencies'])}`.\n\n"
    )
    extras = [
        (f"`{extra}`", ", ".join(f"`{need}`" for need in needs))
        for extra, needs in project["optional-dependencies"].items()
    ]
    return text + _table(("extra", "asks for"), extras)
