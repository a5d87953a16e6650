"""`maspo replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from maspo.cli.terminal import console


def replay(
    run: Annotated[Path, typer.Argument(help="Folder of a run of `maspo train`.")],
    objectives: Annotated[
        str | None,
        typer.Option(help="As grpo,maspo:sigma_base=0.3,sapo; without it the usual rivals."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="JSON file for all figures, by step too.")
    ] = None,
) -> None:
    """Show what other objectives would have done with the tokens that a run has seen."""
    from maspo import files
    from maspo.lab.objective_list import RIVALS, parse_entrants
    from maspo.lab.run.replay import SPACE
    from maspo.lab.run.replay import replay as replayed

    entrants = parse_entrants(objectives or RIVALS)
    found = replayed(run, {entrant.label: entrant.settings for entrant in entrants})
    told = found.plain()
    console.print(
        f"{run}: {told['tokens']} tokens with an advantage, of {len(told['steps'])} updates; "
        f"{told['completions']} of {told['completions_seen']} completions kept",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("objective", overflow="fold")
    for heading in ("mean w", "signal kept", "tokens cut", "cos(this run)", "cos(w = ρ)"):
        table.add_column(heading, justify="right", no_wrap=True)
    for label, figures in told["objectives"].items():
        own = f"{label} ({found.own.title})"
        table.add_row(
            own if label == "this run" else label,
            f"{figures['mean_weight']:.3f}",
            f"{100 * figures['share_kept']:.1f}%",
            f"{100 * figures['share_cut']:.2f}%",
            f"{figures['cosine_to_run']:.4f}",
            f"{figures['cosine_to_plain']:.4f}",
        )
    console.print(table)
    console.print(f"signal kept: Σ|w A| over Σ|ρ A|; {SPACE}", style="dim", highlight=False)
    if out is not None:
        files.write_json(out, told)
        console.print(f"written: {out}", highlight=False)
