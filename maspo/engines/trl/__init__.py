"""Any objective of the library on TRL's GRPOTrainer, and on its AsyncGRPOTrainer.

The names below are loaded at first use, after a look at TRL's version.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from maspo.engines.trl.names import SUPPORTED
from maspo.errors import InputError

if TYPE_CHECKING:
    from maspo.engines.trl.asynchronous import AsyncMASPOConfig, AsyncMASPOTrainer
    from maspo.engines.trl.config import MASPOConfig
    from maspo.engines.trl.trainer import MASPOTrainer

__all__ = ["SUPPORTED", "AsyncMASPOConfig", "AsyncMASPOTrainer", "MASPOConfig", "MASPOTrainer"]

_HOMES = {
    "AsyncMASPOConfig": "asynchronous",
    "AsyncMASPOTrainer": "asynchronous",
    "MASPOConfig": "config",
    "MASPOTrainer": "trainer",
}


def __getattr__(name: str) -> Any:
    """Import our trainer and its settings; InputError for a TRL without what we need."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    SUPPORTED.check()
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ImportError as error:
        wants, newest = error.name or "", SUPPORTED.installed() == SUPPORTED.tested[-1]
        ours = wants.startswith(__name__.partition(".")[0])
        if ours or wants == "trl" or (newest and not wants.startswith("trl")):
            raise
        raise InputError(
            f"{name} needs what TRL {SUPPORTED.installed()} does not have ({error}); run: {SUPPORTED.cure()}"
        ) from error


def __dir__() -> list[str]:
    return __all__
