"""What needs bitsandbytes."""

from __future__ import annotations

import importlib.util

from maspo.errors import InputError


def needs_bitsandbytes(setting: str) -> None:
    """Raise InputError where bitsandbytes, which `setting` needs, is not installed."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InputError(f"{setting} needs a package: pip install bitsandbytes")
