"""Which GPUs `maspo train` uses on a machine with several: one, or as many processes as are asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from maspo.cli.terminal import say
from maspo.errors import InputError
from maspo.lab.race.devices import visible_gpus


def settle_gpus(wanted: int | None, words: Sequence[str]) -> list[str] | None:
    """Leave this process one GPU where there are several; or return the command that starts several.

    Args:
        wanted: as `--gpus` says; None: one.
        words: of the `maspo` command that each of several processes is to carry out.

    Under a launcher nothing is done. Raises InputError for more GPUs than there are.
    """
    if "WORLD_SIZE" in os.environ:
        if wanted is not None:
            raise InputError("--gpus starts processes, and a launcher has started them already")
        return None
    there = visible_gpus()
    if wanted is not None and not 1 <= wanted <= len(there):
        here = "there is no GPU here" if not there else f"{len(there)} are here"
        raise InputError(f"--gpus {wanted} cannot be: {here}")
    if wanted is not None and wanted > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(there[:wanted])
        return launcher(wanted, words)
    if len(there) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = there[0]
        if wanted is None:
            say(
                f"device     GPU {there[0]} of {len(there)}; --gpus {len(there)} trains on all",
                "dim",
            )
    return None


def launcher(processes: int, words: Sequence[str]) -> list[str]:
    """Return the command that carries out a `maspo` command in so many processes of this machine."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [sys.executable, *torchrun, "-m", "maspo", *words]


def replace_process(command: Sequence[str]) -> None:
    """Let the command take the place of this process, which its signals then reach."""
    sys.stdout.flush()
    os.execv(command[0], list(command))
