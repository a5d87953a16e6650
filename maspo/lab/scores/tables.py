"""The table of a comparison as Markdown and as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from maspo.lab import formatting
from maspo.lab.formatting import MISSING, mean_reward, percent, points
from maspo.lab.scores.comparison import Comparison, Figure, TableRow

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "[": "{[}",  # a bare one after the end of a line would be read as its argument
}


def caption(comparison: Comparison) -> str:
    """Say what the numbers are."""
    return (
        f"{heading(comparison)} in percent, with 95% intervals over problems in brackets; "
        "the best of each column in bold."
    )


def heading(comparison: Comparison) -> str:
    """Name the two metrics with their k, where it is one."""
    k = comparison.ks[0] if len(comparison.ks) == 1 else "k"
    return f"Avg@{k} / Pass@{k}"


def published_caption(comparison: Comparison) -> str:
    """Say whose numbers the published rows are."""
    known = comparison.published
    assert known is not None
    return (
        f"As published {known.by}, {known.source}, for {known.model} "
        f"(Avg@{known.k} / Pass@{known.k}); not measured here and not compared."
    )


def figure_text(figure: Figure, *, signed: bool = False) -> str:
    """Write a figure; a difference with its sign and a true minus."""
    return points(figure.value, 1) if signed else f"{100 * figure.value:.1f}"


def figure_interval(figure: Figure, *, signed: bool = False) -> str:
    """Write the interval of a figure in brackets; nothing where it has none."""
    return formatting.interval_text(figure.low, figure.high, signed=signed)


# --- Markdown ----------------------------------------------------------------------------------


def comparison_markdown(comparison: Comparison) -> str:
    """Write the whole comparison as Markdown."""
    parts = ["# Evaluation", caption(comparison), _grid(comparison, comparison.rows)]
    parts += ["\n".join(f"- {_plain(note)}" for note in comparison.notes)]
    if comparison.published_rows:
        parts += ["## Published", _plain(published_caption(comparison))]
        parts += [_grid(comparison, comparison.published_rows)]
    if comparison.differences:
        told = f"Paired difference to {comparison.base}, problem by problem, in percentage points."
        rows = _grid(comparison, comparison.differences, signed=True)
        parts += ["## Differences", _plain(told), rows]
    parts += ["## Behind the scores", _details(comparison)]
    parts += ["\n".join(f"- {_plain(told)}" for told in comparison.chances)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _grid(comparison: Comparison, rows: Sequence[TableRow], *, signed: bool = False) -> str:
    several = len(comparison.ks) > 1

    def cell(pair: tuple[Figure, Figure] | None) -> str:
        if pair is None:
            return MISSING
        values = [
            f"**{figure_text(f)}**" if f.best else figure_text(f, signed=signed) for f in pair
        ]
        ranges = [figure_interval(f, signed=signed) for f in pair]
        return " / ".join(values) + ("<br>" + " / ".join(ranges) if all(ranges) else "")

    lines = [["Run", *(["k"] if several else []), *map(_plain, comparison.columns)]]
    lines.append(["---"] * len(lines[0]))
    lines += [
        [_plain(row.label), *([str(row.k)] if several else []), *map(cell, row.cells)]
        for row in rows
    ]
    return _lines(lines)


def _details(comparison: Comparison) -> str:
    scored = rewarded(comparison)
    columns = ["Benchmark", "Run", "Problems", "maj@k", "Mean tokens", "Cut off", "Outcomes"]
    lines = [[*columns, *(["Mean reward"] if scored else [])]]
    lines.append(["---"] * len(lines[0]))
    lines += [
        [
            _plain(one.benchmark),
            _plain(one.label),
            str(one.problems),
            f"{figure_text(one.maj)} {figure_interval(one.maj)}".strip(),
            f"{one.mean_tokens:.0f}",
            percent(one.truncated, 1),
            outcomes(one.outcomes.items()),
            *([mean_reward(one.score)] if scored else []),
        ]
        for one in comparison.details
    ]
    return _lines(lines)


def outcomes(counts: Iterable[tuple[str, int]]) -> str:
    """List how many samples ended how, leaving out what never happened."""
    return ", ".join(f"{count} {name}" for name, count in counts if count)


def rewarded(comparison: Comparison) -> bool:
    """Whether a mean reward says more than avg@k, because a reward is no verdict."""
    return any(
        scores.tells_rewards for run in comparison.runs for scores in run.benchmarks.values()
    )


def _lines(cells: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _plain(text: str) -> str:
    """Write a text so that Markdown shows it as it is, on one line."""
    escaped = re.sub(r"([\\`*_\[\]|~$#])", r"\\\1", " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# --- LaTeX -------------------------------------------------------------------------------------


def latex(comparison: Comparison) -> str:
    """Write the table, and the published rows below it, for LaTeX with the packages booktabs and graphicx."""
    several = len(comparison.ks) > 1
    lead = 2 if several else 1
    width = lead + 2 * len(comparison.columns)
    heads = [rf"\multicolumn{{2}}{{c}}{{{_tex(name)}}}" for name in comparison.columns]
    rules = [
        rf"\cmidrule(lr){{{lead + 1 + 2 * i}-{lead + 2 + 2 * i}}}"
        for i in range(len(comparison.columns))
    ]
    k = "$k$" if several else comparison.ks[0]
    metrics = [f"A@{k}", f"P@{k}"] * len(comparison.columns)
    body = [_tex_row(row, several) for row in comparison.rows]
    if comparison.published_rows:
        note = _tex(published_caption(comparison))
        body += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\emph{{{note}}}}} \\"]
        body += [_tex_row(row, several) for row in comparison.published_rows]
    lines = [
        "% needs \\usepackage{booktabs,graphicx}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{l{'r' if several else ''}{'rr' * len(comparison.columns)}}}",
        r"\toprule",
        " & ".join(["Run", *(["$k$"] if several else []), *heads]) + r" \\",
        "".join(rules),
        " & ".join([*[""] * lead, *metrics]) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
        *(
            rf"\par{{\footnotesize {_tex(text)}}}"
            for text in (caption(comparison), *comparison.notes)
        ),
    ]
    return "\n".join(lines) + "\n"


def _tex_row(row: TableRow, several: bool) -> str:
    def figure(one: Figure) -> str:
        value = rf"\textbf{{{figure_text(one)}}}" if one.best else figure_text(one)
        span = figure_interval(one)
        return value + (rf" {{\scriptsize {span}}}" if span else "")

    pairs = (("--", "--") if pair is None else map(figure, pair) for pair in row.cells)
    cells = [text for pair in pairs for text in pair]
    return " & ".join([_tex(row.label), *([str(row.k)] if several else []), *cells]) + r" \\"


def _tex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(text.split())
