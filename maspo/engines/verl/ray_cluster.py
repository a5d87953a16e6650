# pyright: reportMissingImports=false
"""Which cluster of Ray's a run would join, as Ray finds it, and whether that answers."""

from __future__ import annotations

import os
import re
import socket
import urllib.error
import urllib.request
from pathlib import Path

from maspo.errors import InputError

ANSWER_SECONDS = 10.0
"""Seconds in which a cluster must answer."""


def running_cluster() -> str | None:
    """Return the address of the cluster that `ray.init` would join; None where it would start one.

    Raises InputError where there is an address and nobody answers: Ray would wait and then say little.
    """
    from ray._common.utils import get_ray_address_file
    from ray._private.services import canonicalize_bootstrap_address

    named = os.environ.get("RAY_ADDRESS")
    address = named if named and "://" in named else canonicalize_bootstrap_address(None)
    if address is None:
        return None
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, ValueError) as error:
        where = "RAY_ADDRESS" if named else str(get_ray_address_file(None))
        cure = "unset it" if named else "run `ray stop` or remove that file"
        raise InputError(
            f"{where} names a cluster of Ray's at {address}, which does not answer ({error}); {cure}, or "
            "start the cluster"
        ) from None
    return address


def check_submission(address: str, folder: Path) -> None:
    """Raise InputError where no dashboard of Ray's answers at `address`, or a path would not survive.

    Ray before 2.56 writes the words of a job as Windows would, and a shell reads them.
    """
    if not address.startswith(("http://", "https://")):
        raise InputError(
            f"--submit takes the address of a cluster's dashboard, as http://HOST:8265, not {address}"
        )
    if odd := re.search(r"[^\w./@%+=:, -]", str(folder)):
        raise InputError(
            f"--out must do without {odd.group()!r} for --submit: not every version of Ray hands it on; "
            f"it is {folder}"
        )
    try:
        urllib.request.urlopen(f"{address.rstrip('/')}/api/version", timeout=ANSWER_SECONDS).close()
    except urllib.error.HTTPError:
        return  # somebody answers, and may want to know who asks
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(f"no cluster of Ray's answers at {address}: {reason}") from None
