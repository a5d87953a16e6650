"""Draw the samples that an evaluation lacks, with one process or with several that share the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext

from maspo.evaluation.folder import EvaluationFolder
from maspo.evaluation.samples import appending
from maspo.sampling import Sample, Sampler, Settings
from maspo.sampling.processes import ONE, Processes


def draw_missing(
    folder: EvaluationFolder,
    settings: Settings,
    sampler: Callable[[], Sampler],
    *,
    processes: Processes = ONE,
    begin: Callable[[int, int], None] = lambda there, missing: None,
    progress: Callable[[int, str], None] = lambda drawn, benchmark: None,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Draw the samples that the folder does not hold yet; return whether it holds all of them now.

    The samples do not depend on the number of processes, nor on how often drawing was cut off.

    Args:
        folder: an evaluation that was begun; the first process alone reads and writes it.
        settings: of sampling, those in the folder.
        sampler: opens the sampler; called only where a sample is missing.
        processes: those that share the work; all of them call this.
        begin: hears how many samples are there and how many are missing, if any are.
        progress: hears of every part that is on file.
        stop: asked after every part; once true in any process, drawing ends.
    """
    problems = processes.share(folder.problems() if processes.first else None)
    with appending(folder.samples_file) if processes.first else nullcontext() as append:
        there = {name: set(each) for name, each in folder.samples().items()} if append else None
        done = processes.share(there)
        missing = sum(len(problems[name]) * settings.samples - len(done[name]) for name in problems)
        if not missing:
            return True
        begin(sum(map(len, done.values())), missing)
        source = sampler()
        for name, each in problems.items():
            mine = source.sample(each, settings, done[name], processes.part)
            for samples, stopped in _together(mine, processes, stop):
                if append is not None:
                    append(name, samples)
                progress(len(samples), name)
                if stopped:
                    return False
    return True


def _together(
    mine: Iterator[list[Sample]], processes: Processes, stop: Callable[[], bool]
) -> Iterator[tuple[list[Sample], bool]]:
    """Yield, in every process, what all have drawn in a round, and whether one of them was told to stop."""
    while True:
        told = stop()
        rounds = processes.gather((None if told else next(mine, None), told))
        drawn = [part for part, _ in rounds if part is not None]
        stopped = any(told for _, told in rounds)
        if drawn or stopped:
            yield [sample for part in drawn for sample in part], stopped
        if stopped or not drawn:
            return
