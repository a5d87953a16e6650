"""Any objective of the library on TRL's GRPOTrainer."""

from importlib.metadata import version

from packaging.version import Version

from maspo.errors import InputError

SUPPORTED = ("1.16", "1.17")
"""TRL versions from the first on, before the second: the window that the contract tests ran on."""


def check_trl_version(installed: str) -> None:
    """Raise InputError where `installed` lies outside the supported window."""
    if not Version(SUPPORTED[0]) <= Version(installed) < Version(SUPPORTED[1]):
        raise InputError(
            f"TRL {installed} is installed, but this version of maspo is tested with TRL "
            f">={SUPPORTED[0]},<{SUPPORTED[1]} and relies on its internals; "
            f"run: pip install 'trl>={SUPPORTED[0]},<{SUPPORTED[1]}'"
        )


check_trl_version(version("trl"))

from maspo.engines.trl.config import MASPOConfig  # noqa: E402  (the version is checked first)
from maspo.engines.trl.trainer import MASPOTrainer  # noqa: E402

__all__ = ["SUPPORTED", "MASPOConfig", "MASPOTrainer", "check_trl_version"]
