"""A race from beginning to end: tune, choose learning rates, race, report."""

from __future__ import annotations

import os
from contextlib import nullcontext

from maspo.engines.engine import engine_named
from maspo.errors import InputError
from maspo.lab.console import Screen
from maspo.lab.race.executors import LocalExecutor
from maspo.lab.race.folder import RaceFolder
from maspo.lab.race.on_ray import RayCluster, RayExecutor
from maspo.lab.race.plan import Plan
from maspo.lab.race.rehearsal import introduce
from maspo.lab.race.report import write_race
from maspo.lab.race.results import Analysis
from maspo.lab.race.runner import Runner
from maspo.lab.race.tuning import best_rates, tuning_scores


def run_race(
    plan: Plan,
    folder: RaceFolder,
    screen: Screen,
    *,
    parallel: int | None = None,
    budget: float | None = None,
    cluster: RayCluster | None = None,
) -> Analysis | None:
    """Carry out a race, or what is left of it, and write its report.

    Args:
        plan: see `make_plan`.
        folder: new, or with the same race, which goes on.
        screen: shows what goes on.
        parallel: runs at once; the cores are shared among them. None: 1, or what the cluster has room for.
        budget: seconds after which no run may end; None: any.
        cluster: where the runs are carried out, each on one core; None: on this machine.

    Returns what was found; None where the tuning is not complete. Raises InputError where the folder
    holds something else, another process works on it, the cluster cannot be used, or nothing but
    failures is to be expected.
    """
    if parallel is not None and parallel < 1:
        raise InputError(f"parallel must be at least 1, not {parallel}")
    engine_named(plan.engine).supported.check()
    with nullcontext() if cluster is None else cluster.connected():
        if cluster is None:
            parallel = parallel or 1
            threads = folder.open(plan, max(1, (os.cpu_count() or 1) // parallel))
            executor, where = LocalExecutor(plan, folder, threads), ""
        else:
            room = cluster.room(folder.threads(1))
            parallel = parallel or room
            threads = folder.open(plan, 1)
            executor = RayExecutor(plan, folder, threads, cluster)
            where = f" and {cluster.gpus:g} GPUs, on the Ray cluster at {cluster.address}"
        more = f"; {threads} thread{'s' * (threads > 1)} each{where}"
        introduce(plan, folder, screen, parallel=parallel, more=more)
        with folder.claimed():
            runner = Runner(plan, folder, screen, executor, parallel=parallel, budget=budget)
            return _carry_out(plan, folder, screen, runner)


def _carry_out(plan: Plan, folder: RaceFolder, screen: Screen, runner: Runner) -> Analysis | None:
    """Tune and race, as far as the runner goes."""
    rates = None
    if plan.rates:
        trials = plan.tuning_trials()
        runner.run("tuning", trials)
        failures = folder.failures()
        left = [t for t in trials if not folder.finished(t) and t.name not in failures]
        if left:
            screen.say(f"{len(left)} runs of the tuning are left; the same command goes on")
            return None
        rates = best_rates(tuning_scores(plan, folder))
        for (label, condition), rate in rates.items():
            screen.say(f"tuned      {label}, {condition}: {rate:g}")
    runner.run("race", plan.trials(rates))
    return write_race(folder)
