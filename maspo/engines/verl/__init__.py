"""Any objective of the library on verl: a plug-in to the stock package, and a launcher for recipes.

Importing this imports neither verl nor Ray; `maspo.engines.verl.plugin` does, in every process of
verl, where it must stay light.
"""

from importlib.metadata import PackageNotFoundError, version

from maspo.errors import InputError

SUPPORTED = "0.9.1"
"""The version of verl that all of this was tested with, and the only one."""


def check_verl_version(installed: str | None = None) -> None:
    """Raise InputError where verl is missing or of another version than `SUPPORTED`."""
    if installed is None:
        try:
            installed = version("verl")
        except PackageNotFoundError:
            raise InputError("verl is not installed; run: pip install 'maspo[verl]'") from None
    if installed != SUPPORTED:
        raise InputError(
            f"verl {installed} is installed, but this version of maspo is tested with verl "
            f"{SUPPORTED} alone and relies on its internals; run: pip install verl=={SUPPORTED}"
        )
