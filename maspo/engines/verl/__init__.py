"""Any objective of the library on verl: a plug-in to the stock package, and a launcher for recipes.

Importing this imports neither verl nor Ray; `maspo.engines.verl.plugin` does, in every process of
verl, where it must stay light.
"""

from maspo.engines.verl.names import SUPPORTED

__all__ = ["SUPPORTED"]
