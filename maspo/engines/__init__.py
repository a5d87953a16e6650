"""Bridges to training frameworks; each is imported only inside its own folder.

`host_loss` applies an objective to the tensors of any other trainer; it is loaded at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maspo.engines.host import host_loss

__all__ = ["host_loss"]


def __getattr__(name: str) -> Any:
    """Import torch only where a loss is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from maspo.engines import host

    return host.host_loss
