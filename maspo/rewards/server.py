"""The verifier's own process: a pool of killable workers behind a pipe.

It is started as `python -m maspo.rewards.server`, not by multiprocessing from the training process,
for three reasons: workers are forked from a clean, single-threaded process that holds math-verify
and nothing else; the user's script is not imported again in every worker (as spawn and forkserver
do, running it whole where it has no `__main__` guard); and pebble's settings stay ours.
"""

import json
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from multiprocessing.connection import Connection

from pebble import CONSTS, ProcessExpired, ProcessFuture, ProcessPool

from maspo.rewards.verdict import Gold, Job, Outcome, Verdict
from maspo.rewards.worker import check, prepare


def serve(channel: Connection, *, workers: int, time_limit: float, memory_limit_mb: int | None):
    """Answer lists of jobs with lists of verdicts, in order, until the other end closes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["maspo.rewards.warm"])
    CONSTS.term_timeout = 0.1  # a worker inside one long C call does not hear SIGTERM: kill it
    pool = ProcessPool(
        max_workers=workers,
        initializer=prepare,
        initargs=(memory_limit_mb,),
        context=context,
    )
    with pool:
        pool.schedule(check, args=(Job("1", Gold("1"), False),))  # starts the workers
        while True:
            try:
                jobs: Sequence[Job] = channel.recv()
                futures = [pool.schedule(check, args=(job,), timeout=time_limit) for job in jobs]
                channel.send([_verdict(future, time_limit) for future in futures])
            except (EOFError, ConnectionError):
                return


def _verdict(future: ProcessFuture, time_limit: float) -> Verdict:
    outcome = Outcome.ERROR
    try:
        return future.result()
    except FutureTimeoutError:
        outcome, detail = (
            Outcome.TIMEOUT,
            f"no verdict within {time_limit:g} s, worker killed",
        )
    except ProcessExpired as error:
        detail = f"worker died with exit code {error.exitcode}"
    except Exception as error:  # raised in the worker outside `check`'s own handling
        detail = repr(error)
    return Verdict(outcome=outcome, answer=None, detail=detail)


if __name__ == "__main__":
    descriptor, settings = int(sys.argv[1]), json.loads(sys.argv[2])
    serve(Connection(descriptor), **settings)
