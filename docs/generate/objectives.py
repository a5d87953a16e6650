"""A page for each objective, with the weight of a token against its ratio, and the table of all."""

from __future__ import annotations

import inspect
import io
from collections.abc import Iterator
from typing import Any

from generate.markdown import table
from generate.studies import studied


def table_of_all() -> str:
    """Write every objective in a row."""
    from maspo.objectives import BUILT_IN

    columns = "name", "ratio level", "radius", "gate", "side", "mass-aware", "sign-asymmetric"
    rows = []
    for name, kind in BUILT_IN.items():
        outline = kind().outline()
        yes = ["yes" if flag else "" for flag in (kind.mass_aware, kind.sign_asymmetric)]
        source = f"[{kind.arxiv}](https://arxiv.org/abs/{kind.arxiv})"
        shape = outline.level, kind.radius, outline.gate, outline.side
        rows.append((f"[`{name}`]({name}.md)", *shape, *yes, ", ".join(kind.inputs), source))
    return table((*columns, "extra inputs", "source"), rows)


def pages() -> Iterator[tuple[str, str | bytes]]:
    """Yield place and content of the page of each objective, and its picture."""
    from maspo.objectives import BUILT_IN

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
        + table(("setting", "symbol", "default", "allowed", "meaning"), rows)
        + "\n## At a glance\n\n"
        + table(("", ""), told)
        + studied(name)
        + f"\n## Use\n\nIn a recipe:\n\n```yaml\nobjective: {{name: {name}}}\n```\n\nIn Python:\n\n"
        f"```python\nimport maspo\n\nobjective = maspo.make_objective({name!r})\n```\n"
    )


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
