"""The verifier's own process: a pool of killable workers behind a pipe.

It is started as `python -m maspo.rewards.server`, not by multiprocessing from the training process,
for three reasons: workers are forked from a clean, single-threaded process that holds math-verify
and nothing else; the user's script is not imported again in every worker (as spawn and forkserver
do, running it whole where it has no `__main__` guard); and pebble's settings stay ours.
"""

import json
import multiprocessing
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures import TimeoutError as FutureTimeoutError
from multiprocessing.connection import Connection

from pebble import CONSTS, ProcessExpired, ProcessPool

from maspo.rewards.verdict import Gold, Job, Outcome, Verdict
from maspo.rewards.worker import check_answer, prepare_worker

_IN_FLIGHT = 8  # jobs handed to the pool for each worker, so that none waits for its next
_SHARE = 8  # no check gets more than this part of what the batch has left
_LEAST = 0.25  # seconds that every check gets, as long as its reference answer has cost no hang


def serve(
    channel: Connection,
    *,
    workers: int,
    time_limit: float,
    batch_limit: float,
    memory_limit_mb: int | None,
    rules: Sequence[str],
):
    """Answer lists of jobs with lists of verdicts, in order, until the other end closes or SIGTERM.

    It ends all processes of its group, which must be its own, whatever they do: also those that are
    still importing.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["maspo.rewards.warm"])
    CONSTS.term_timeout = 0.1  # a worker inside one long C call does not hear SIGTERM: kill it
    pool = ProcessPool(
        max_workers=workers,
        initializer=prepare_worker,
        initargs=(memory_limit_mb,),
        context=context,
    )
    try:
        chosen = frozenset(rules)
        pool.schedule(check_answer, args=(Job("1", Gold("1"), False), chosen))  # starts the workers
        while True:
            jobs: Sequence[Job] = channel.recv()
            budget = Budget(batch_limit * workers, time_limit)
            channel.send(_judge(pool, jobs, chosen, budget, _IN_FLIGHT * workers))
    except (EOFError, ConnectionError):
        return
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pool.stop()
        os.killpg(0, signal.SIGTERM)
        pool.join()


class Budget:
    """How long the checks of one batch may run, given what its killed checks have cost already.

    Each check may take `time_limit` seconds, but no more than an eighth of what is left of `total`,
    so that hangs grow shorter instead of eating all of it at once. When it is spent, a reference
    answer that has cost a hang gets no more checks, and every other a short one.
    """

    def __init__(self, total: float, time_limit: float):
        """Start with `total` seconds of the workers' time for checks that do not end."""
        self.total, self.left, self._time_limit = total, total, time_limit
        self._hung: set[Gold] = set()

    def limit(self, gold: Gold) -> float:
        """Return the seconds that the next check against `gold` may take; 0 for none at all."""
        if self.left <= 0 and gold in self._hung:
            return 0.0
        least = min(_LEAST, self._time_limit)
        return min(self._time_limit, max(least, self.left / _SHARE))

    def spend(self, gold: Gold, seconds: float) -> None:
        """Note a check that was killed."""
        self.left -= seconds
        self._hung.add(gold)


def _judge(
    pool: ProcessPool,
    jobs: Sequence[Job],
    rules: frozenset[str],
    budget: Budget,
    in_flight: int,
) -> list[Verdict]:
    verdicts: dict[int, Verdict] = {}
    running: dict[Future[Verdict], tuple[int, float]] = {}
    waiting = _in_turns(jobs)
    while len(verdicts) < len(jobs):
        while len(running) < in_flight and (place := next(waiting, None)) is not None:
            limit = budget.limit(jobs[place].gold)
            if limit:
                future = pool.schedule(check_answer, args=(jobs[place], rules), timeout=limit)
                running[future] = (place, limit)
            else:
                verdicts[place] = _timeout(
                    f"not checked: hangs took the {budget.total:g} s that a batch may cost"
                )
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            place, limit = running.pop(future)
            verdicts[place] = _verdict(future, limit)
            if verdicts[place].outcome is Outcome.TIMEOUT:
                budget.spend(jobs[place].gold, limit)
    return [verdicts[place] for place in range(len(jobs))]


def _in_turns(jobs: Sequence[Job]) -> Iterator[int]:
    """List the places of the jobs so that every reference answer has its turn before any its next."""
    turns: dict[Gold, int] = defaultdict(int)
    order = []
    for place, job in enumerate(jobs):
        order.append((turns[job.gold], place))
        turns[job.gold] += 1
    return iter(place for _, place in sorted(order))


def _verdict(future: Future[Verdict], limit: float) -> Verdict:
    try:
        return future.result()
    except FutureTimeoutError:
        return _timeout(f"no verdict within {limit:.3g} s, worker killed")
    except ProcessExpired as error:
        detail = f"worker died with exit code {error.exitcode}"
    except Exception as error:  # raised in the worker outside `check_answer`'s own handling
        detail = repr(error)
    return Verdict(outcome=Outcome.ERROR, answer=None, detail=detail)


def _timeout(detail: str) -> Verdict:
    return Verdict(outcome=Outcome.TIMEOUT, answer=None, detail=detail)


if __name__ == "__main__":
    descriptor, settings = int(sys.argv[1]), json.loads(sys.argv[2])
    serve(Connection(descriptor), **settings)
