"""Any objective of the library on TRL's GRPOTrainer.

The names below are loaded at first use, after a look at TRL's version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maspo.engines.trl.names import SUPPORTED

if TYPE_CHECKING:
    from maspo.engines.trl.config import MASPOConfig
    from maspo.engines.trl.trainer import MASPOTrainer

__all__ = ["SUPPORTED", "MASPOConfig", "MASPOTrainer"]


def __getattr__(name: str) -> Any:
    """Import our trainer and its settings; InputError for a TRL outside `SUPPORTED`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    SUPPORTED.check()
    from maspo.engines.trl.config import MASPOConfig
    from maspo.engines.trl.trainer import MASPOTrainer

    return {"MASPOConfig": MASPOConfig, "MASPOTrainer": MASPOTrainer}[name]


def __dir__() -> list[str]:
    return __all__
