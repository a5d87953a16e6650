"""`maspo compare` and `maspo ablate`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maspo.cli.options import RecipeName, Settings
from maspo.cli.terminal import console, say
from maspo.errors import InputError

if TYPE_CHECKING:
    from maspo.lab.race.folder import RaceFolder
    from maspo.lab.race.plan import Plan
    from maspo.lab.race.runner import Runner


Seeds = Annotated[
    int, typer.Option(help="Runs of each objective, counted up from the recipe's seed.")
]
Updates = Annotated[
    str | None,
    typer.Option(help="Updates per rollout, as 1,4,16; without it the recipe's."),
]
Parallel = Annotated[int, typer.Option(help="Runs at once; the cores are shared among them.")]
Budget = Annotated[
    float | None, typer.Option(help="Start no run that would end after so many minutes.")
]
Tune = Annotated[
    str | None,
    typer.Option(
        metavar="RATES", help="Learning rates to choose from for each objective, as 3e-5,1e-4."
    ),
]
TuneSeeds = Annotated[int, typer.Option(help="Runs for each learning rate, on seeds of their own.")]
Out = Annotated[
    str | None, typer.Option(help="Folder of the race; one that was interrupted goes on.")
]


def compare(
    recipe: RecipeName = "quickstart",
    objectives: Annotated[
        str | None,
        typer.Option(
            help="As grpo,maspo:sigma_base=0.3,alpha=0; the first is the baseline. "
            "Without it MASPO and those of its paper."
        ),
    ] = None,
    seeds: Seeds = 5,
    updates_per_rollout: Updates = None,
    parallel: Parallel = 1,
    budget_minutes: Budget = None,
    tune: Tune = None,
    tune_seeds: TuneSeeds = 2,
    set_: Settings = None,
    out: Out = None,
) -> None:
    """Race objectives on one recipe: same start, data and seeds, only the objective differs."""
    from maspo.lab.objective_list import RIVALS

    _race(
        objectives or RIVALS, recipe, seeds, updates_per_rollout, parallel, budget_minutes,
        tune, tune_seeds, set_, out,
    )  # fmt: skip


def ablate(
    recipe: RecipeName = "quickstart",
    seeds: Seeds = 5,
    updates_per_rollout: Updates = None,
    parallel: Parallel = 1,
    budget_minutes: Budget = None,
    tune: Tune = None,
    tune_seeds: TuneSeeds = 2,
    set_: Settings = None,
    out: Out = None,
) -> None:
    """Race MASPO against itself with one part changed at a time: mass, risk, softness, side, width."""
    from maspo.lab.objective_list import ABLATIONS

    _race(
        ABLATIONS, recipe, seeds, updates_per_rollout, parallel, budget_minutes,
        tune, tune_seeds, set_, out,
    )  # fmt: skip


def _race(
    objectives: str,
    recipe: str,
    seeds: int,
    updates: str | None,
    parallel: int,
    budget_minutes: float | None,
    tune: str | None,
    tune_seeds: int,
    set_: list[str] | None,
    out: str | None,
) -> None:
    from maspo.lab.console import Screen
    from maspo.lab.race.folder import RaceFolder
    from maspo.lab.race.plan import make_plan
    from maspo.lab.race.report import write_race
    from maspo.lab.race.runner import Runner
    from maspo.recipes import load_recipe

    chosen = load_recipe(recipe, set_ or [])
    plan = make_plan(
        chosen,
        objectives,
        seeds=seeds,
        updates=_numbers("--updates-per-rollout", updates, int),
        rates=_numbers("--tune", tune, float),
        tuning_seeds=tune_seeds,
    )
    if parallel < 1:
        raise InputError(f"--parallel must be at least 1, not {parallel}")
    folder = RaceFolder.choose(out, chosen.name)
    threads = folder.open(plan, max(1, (os.cpu_count() or 1) // parallel))
    introduce(plan, threads)
    budget = None if budget_minutes is None else 60 * budget_minutes
    runner = Runner(
        plan, folder, Screen(console), parallel=parallel, threads=threads, budget=budget
    )
    with folder.claimed():
        if not _carry_out(plan, folder, runner):
            return
    report = write_race(folder)
    console.print()
    for group in report.groups:
        console.print(group.title, style="bold")
        for one in group.verdicts:
            say(one.text)
    console.print(f"\nreport [bold]{folder.path / 'report.html'}[/bold]", highlight=False)


def _carry_out(plan: Plan, folder: RaceFolder, runner: Runner) -> bool:
    """Tune, where that was asked for, and race; false where the tuning is not complete."""
    from maspo.lab.race.tuning import best_rates, tuning_scores

    rates = None
    if plan.rates:
        cells = plan.tuning_cells()
        runner("tuning", cells)
        left = [c for c in cells if not folder.finished(c) and c.name not in folder.failures()]
        if left:
            console.print(f"{len(left)} runs of the tuning are left; the same command goes on")
            return False
        rates = best_rates(tuning_scores(plan, folder))
        for (label, count), rate in rates.items():
            console.print(f"tuned      {label}, {count} updates: {rate:g}", highlight=False)
    runner("race", plan.cells(rates))
    return True


def introduce(plan: Plan, threads: int) -> None:
    """Say what the race is and why it is fair."""
    from maspo.lab.race.plan import couplings, strangers

    cells, training = plan.cells(), plan.recipe.training
    tuning = f"{len(plan.tuning_cells())} to tune, then " if plan.rates else ""
    lines = [
        f"race       {', '.join(plan.labels)}; {plan.labels[0]} is the baseline",
        f"runs       {tuning}{len(cells)}: updates per rollout {', '.join(map(str, plan.updates))}; "
        f"seeds {', '.join(map(str, plan.seeds))}; {threads} threads each",
        f"for all    advantages {training.advantages}, reduction {training.reduction}, learning rate "
        + ("tuned" if plan.rates else f"{training.learning_rate:g} {training.schedule}"),
        "proof      the recipes of one seed differ in objective"
        + (" and learning rate alone" if plan.rates else " alone"),
        *(f"note       {line}" for line in (*strangers(plan), *couplings(plan))),
    ]
    for line in lines:
        say(line, "dim")


def _numbers(option: str, text: str | None, kind: Callable[[str], Any]) -> list[Any]:
    """Read numbers with commas between them."""
    try:
        return [kind(word) for word in text.split(",")] if text else []
    except ValueError:
        raise InputError(f"{option} takes numbers with commas between them, not {text!r}") from None
