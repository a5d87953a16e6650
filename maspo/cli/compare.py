"""`maspo compare` and `maspo ablate`."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maspo.cli.options import EngineName, Overrides, RecipeName, launches, with_signature
from maspo.cli.terminal import console, quiet, say
from maspo.engines.engine import DEFAULT_ENGINE, InProcessEngine, Launch, engine_named
from maspo.errors import InputError
from maspo.lab.objective_list import ABLATIONS, RIVALS

if TYPE_CHECKING:
    from maspo.lab.race.folder import RaceFolder
    from maspo.lab.race.on_ray import RayCluster
    from maspo.lab.race.results import Analysis

Objectives = Annotated[
    str,
    typer.Option(
        help="As grpo,maspo:sigma_base=0.3,alpha=0; the first is the baseline. "
        "Without it MASPO and those of its paper.",
        show_default=False,
    ),
]
Seeds = Annotated[
    int, typer.Option(help="Runs of each objective, counted up from the recipe's seed.")
]
Updates = Annotated[
    str | None,
    typer.Option(help="Updates per rollout, as 1,4,16; without it the recipe's."),
]
Staleness = Annotated[
    str | None,
    typer.Option(
        help="Rollouts ago whose policy samples a rollout, as 0,4,16; without it the recipe's."
    ),
]
Parallel = Annotated[
    int | None,
    typer.Option(
        help="Runs at once; the cores are shared among them. Without it 1, or what --ray has room for.",
        show_default=False,
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Send the runs to this Ray cluster: auto, host:port, ray://host:port, or local.",
    ),
]
GPUsPerRun = Annotated[
    float | None,
    typer.Option(help="GPUs that each run on --ray has, or its share of one; without it 1."),
]
MinutesBudget = Annotated[
    float | None, typer.Option(help="Start no run that would end after so many minutes.")
]
Tune = Annotated[
    str | None,
    typer.Option(
        metavar="RATES", help="Learning rates to choose from for each objective, as 3e-5,1e-4."
    ),
]
SweptRates = Annotated[
    str | None,
    typer.Option(
        metavar="RATES",
        help="Learning rates at which every objective is raced, as 3e-5,1e-4,3e-4: best value and tolerance.",
    ),
]
EqualNorm = Annotated[
    bool, typer.Option("--equal-norm", help="Scale every update to the first objective's.")
]
TuneSeeds = Annotated[int, typer.Option(help="Runs for each learning rate, on seeds of their own.")]
Out = Annotated[
    str | None, typer.Option(help="Folder of the race; one that was interrupted goes on.")
]


@launches
def compare(
    recipe: RecipeName = "quickstart",
    objectives: Objectives = RIVALS,
    seeds: Seeds = 5,
    updates_per_rollout: Updates = None,
    staleness: Staleness = None,
    parallel: Parallel = None,
    ray: Ray = None,
    gpus_per_run: GPUsPerRun = None,
    budget_minutes: MinutesBudget = None,
    tune: Tune = None,
    tune_seeds: TuneSeeds = 2,
    rates: SweptRates = None,
    equal_norm: EqualNorm = False,
    set_: Overrides = None,
    out: Out = None,
    engine: EngineName = DEFAULT_ENGINE,
    *,
    launch: Launch,
) -> None:
    """Race objectives on one recipe: same start, data and seeds, only the objective differs."""
    from maspo.lab.console import Screen
    from maspo.lab.race.folder import RaceFolder
    from maspo.lab.race.planning import make_plan
    from maspo.lab.race.rehearsal import rehearse
    from maspo.recipes import load_recipe

    chosen = load_recipe(recipe, set_ or [])
    plan = make_plan(
        chosen,
        objectives,
        seeds=seeds,
        updates=_numbers("--updates-per-rollout", updates_per_rollout, int),
        staleness=_numbers("--staleness", staleness, int),
        rates=_numbers("--tune", tune, float),
        tuning_seeds=tune_seeds,
        sweep=_numbers("--rates", rates, float),
        equal_norm=equal_norm,
        engine=engine,
        launch=launch,
    )
    folder = RaceFolder.choose(out, chosen.name)
    cluster = _cluster(ray, gpus_per_run)
    if launch.dry_run:
        if isinstance(engine_named(engine), InProcessEngine):
            quiet()
        rehearse(plan, folder, Screen(console), parallel=parallel or 1)
        return
    from maspo.lab.race.race import run_race

    budget = None if budget_minutes is None else 60 * budget_minutes
    found = run_race(
        plan, folder, Screen(console), parallel=parallel, budget=budget, cluster=cluster
    )
    if found is not None:
        show_race(found, folder)


def show_race(found: Analysis, folder: RaceFolder) -> None:
    """Print what a race found, and where its report is."""
    console.print()
    for group in found.groups:
        say(group.title, "bold")
        for one in (*group.conclusions, *found.of_tolerance(group)):
            say(one.text)
    console.print(f"\nreport [bold]{folder.path / 'report.html'}[/bold]", highlight=False)


def ablate(**options: Any) -> None:
    """Race MASPO against itself with one part changed at a time: mass, risk, softness, side, width."""
    compare(objectives=ABLATIONS, **options)


# Its options are those of compare, but for the objectives.
with_signature(
    ablate, [p for p in signature(compare).parameters.values() if p.name != "objectives"]
)


def _cluster(address: str | None, gpus: float | None) -> RayCluster | None:
    """Read where the runs go; None: they stay on this machine."""
    from maspo.lab.race.on_ray import RayCluster

    if address is None:
        if gpus is not None:
            raise InputError("--gpus-per-run is for --ray; on this machine each run has one GPU")
        return None
    cluster = RayCluster(address=address, gpus=1.0 if gpus is None else gpus)
    cluster.check()
    return cluster


def _numbers(option: str, text: str | None, kind: Callable[[str], Any]) -> list[Any]:
    """Read numbers with commas between them."""
    try:
        return [kind(word) for word in text.split(",")] if text else []
    except ValueError:
        raise InputError(f"{option} takes numbers with commas between them, not {text!r}") from None
